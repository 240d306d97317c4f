"""`/api/<stream>/latest | history | stats | ml-data | devices`: readings back, the same on every database."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import Api, noon, reading, running

USED_STREAMS = ""

READING_KEYS = {
    "id",
    "device_id",
    "temperature",
    "vibration",
    "gas",
    "power",
    "timestamp",
    "created_at",
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
WINDOWED = ("history", "stats", "ml-data")
BAD_DEVICE_IDS = [
    "a+b",
    "#",
    "a/b",
    "..",
    ".",
    "",
    " a",
    "a ",
    "a\nb",
    "a\0b",
    "a\u200bb",
    "a" * 129,
]
NO_TIMES = [
    "yesterday",
    "",
    "2026-02-30",
    "24h",
    "-24x",
    "-999999999w",
    "1e9",
    "NaN",
    "9" * 30,
    "2026-01-29T25:00",
    "\0",
]


def counted(api: Api, endpoint: str, **query: Any) -> int:
    """How many readings an endpoint covers."""
    answer = api.get(f"/api/sensors/{endpoint}", **query)
    counts = {"history": answer.get("count"), "ml-data": answer.get("sample_count")}
    return int(answer["stats"]["count"] if endpoint == "stats" else counts[endpoint])


# latest


def test_latest_answers_with_the_documented_keys_and_the_values_as_sent(api: Api) -> None:
    api.submit(
        reading(temperature=24.5, vibration="12.3", gas=450, power=250.5, timestamp=1769697045.25)
    )
    answer = api.get("/api/sensors/latest", device_id="ESP32_001")
    assert answer.keys() == {"data"}
    found = answer["data"]
    assert found.keys() >= READING_KEYS
    measured = (found["temperature"], found["vibration"], found["gas"], found["power"])
    assert (found["device_id"], measured) == ("ESP32_001", (24.5, 12.3, 450.0, 250.5))
    assert found["timestamp"] == "2026-01-29T14:30:45.250000Z"
    assert RFC_3339.fullmatch(found["created_at"])
    age = datetime.now(UTC) - datetime.fromisoformat(found["created_at"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_latest_is_the_reading_with_the_newest_time_whatever_came_last(api: Api) -> None:
    api.submit(reading("a", 1), reading("b", 3), reading("a", 2), reading("b", 0))
    assert api.get("/api/sensors/latest")["data"]["timestamp"] == "2026-01-29T12:00:03.000000Z"
    assert (
        api.get("/api/sensors/latest", device_id="a")["data"]["timestamp"]
        == "2026-01-29T12:00:02.000000Z"
    )


def test_latest_without_readings_is_404_and_says_of_which_device(api: Api) -> None:
    nothing = api.get("/api/sensors/latest", expect=404)
    assert nothing == {"message": "No sensor readings found", "device_id": None}
    api.submit(reading("other"))
    nothing = api.get("/api/sensors/latest", expect=404, device_id="ESP32_001")
    assert nothing == {"message": "No sensor readings found", "device_id": "ESP32_001"}


# history


def test_history_is_newest_first_with_the_documented_keys(api: Api) -> None:
    api.submit(reading("a", 1), reading("b", 2), reading("a", 3, temperature=-1.5))
    answer = api.get("/api/sensors/history", device_id="a", limit=100, offset=0)
    data = answer.pop("data")
    assert answer == {"count": 2, "limit": 100, "offset": 0, "device_id": "a"}
    assert [item["timestamp"] for item in data] == [
        "2026-01-29T12:00:03.000000Z",
        "2026-01-29T12:00:01.000000Z",
    ]
    assert all(item.keys() >= READING_KEYS for item in data)
    assert data[0]["temperature"] == -1.5


def test_history_of_all_devices_says_null_for_the_device(sqlite_api: Api) -> None:
    sqlite_api.submit(reading("a"), reading("b"))
    answer = sqlite_api.get("/api/sensors/history")
    assert (answer["device_id"], answer["count"]) == (None, 2)


def test_history_has_100_readings_unless_told_otherwise(sqlite_api: Api) -> None:
    sqlite_api.submit(*[reading(second=i / 10) for i in range(150)])
    answer = sqlite_api.get("/api/sensors/history")
    assert (answer["count"], answer["limit"], answer["offset"], len(answer["data"])) == (
        100,
        100,
        0,
        100,
    )
    assert sqlite_api.get("/api/sensors/history", offset=100)["count"] == 50
    assert sqlite_api.get("/api/sensors/history", offset=150) == {
        "count": 0, "limit": 100, "offset": 150, "device_id": None, "data": [],
    }  # fmt: skip


def test_pages_hold_every_reading_once_where_all_have_the_same_time(api: Api) -> None:
    api.submit(*[reading(f"d{i % 3}", temperature=i) for i in range(25)])
    whole = [item["id"] for item in api.get("/api/sensors/history")["data"]]
    pages = [
        api.get("/api/sensors/history", limit=7, offset=offset)["data"]
        for offset in range(0, 28, 7)
    ]
    assert [item["id"] for page in pages for item in page] == whole
    assert len(set(whole)) == 25


# stats


def test_stats_has_count_average_minimum_and_maximum_of_every_metric(api: Api) -> None:
    api.submit(
        reading("a", 1, temperature=20, vibration=1, gas=-5.5, power=0),
        reading("a", 2, temperature=25, vibration=2, gas=0.5, power=0),
        reading("b", 3, temperature=99, vibration=9, gas=9, power=9),
    )
    assert api.get("/api/sensors/stats", device_id="a") == {
        "stats": {
            "count": 2,
            "avg_temperature": 22.5, "min_temperature": 20.0, "max_temperature": 25.0,
            "avg_vibration": 1.5, "min_vibration": 1.0, "max_vibration": 2.0,
            "avg_gas": -2.5, "min_gas": -5.5, "max_gas": 0.5,
            "avg_power": 0.0, "min_power": 0.0, "max_power": 0.0,
        },
        "device_id": "a",
    }  # fmt: skip
    everything = api.get("/api/sensors/stats")
    assert (everything["stats"]["count"], everything["device_id"]) == (3, None)
    assert everything["stats"]["avg_temperature"] == pytest.approx(48)


def test_stats_of_nothing_is_a_count_of_zero_and_nulls(api: Api) -> None:
    stats = api.get("/api/sensors/stats", device_id="nobody")["stats"]
    assert stats.pop("count") == 0
    assert len(stats) == 12
    assert set(stats.values()) == {None}


def test_stats_are_right_after_readings_of_1e200(api: Api) -> None:
    """One broken sensor must not take the statistics of all away."""
    broken = [reading("broken", second, temperature=1e200) for second in (2, 3, 4)]
    stored = api.judge("/api/sensors/readings", [reading(second=1), *broken])["stored"]
    stats = api.get("/api/sensors/stats")["stats"]
    assert (stats["count"], stats["min_temperature"], stats["avg_gas"]) == (stored, 24.5, 450.0)
    if stored == 4:  # rejecting what cannot be measured would be as good
        assert stats["max_temperature"] == 1e200
        assert stats["avg_temperature"] == pytest.approx(0.75e200)


# ml-data


def test_ml_data_is_the_newest_samples_oldest_first_as_columns(api: Api) -> None:
    api.submit(
        *[
            reading("ab"[i % 2], i, temperature=i, vibration=i / 2, gas=10 * i, power=-i)
            for i in range(5)
        ]
    )
    assert api.get("/api/sensors/ml-data", limit=3) == {
        "sample_count": 3,
        "device_id": None,
        "data": {
            "timestamps": [
                "2026-01-29T12:00:02.000000Z",
                "2026-01-29T12:00:03.000000Z",
                "2026-01-29T12:00:04.000000Z",
            ],
            "temperatures": [2.0, 3.0, 4.0],
            "vibrations": [1.0, 1.5, 2.0],
            "gases": [20.0, 30.0, 40.0],
            "powers": [-2.0, -3.0, -4.0],
            "device_ids": ["a", "b", "a"],
        },
    }
    one = api.get("/api/sensors/ml-data", device_id="b")
    assert (one["device_id"], one["data"]["temperatures"]) == ("b", [1.0, 3.0])


def test_ml_data_of_nothing_has_every_column_empty(sqlite_api: Api) -> None:
    answer = sqlite_api.get("/api/sensors/ml-data")
    assert answer["sample_count"] == 0
    assert answer["data"] == {
        name: []
        for name in ("timestamps", "device_ids", "temperatures", "vibrations", "gases", "powers")
    }


def test_ml_data_has_1000_samples_unless_told_otherwise(sqlite_api: Api) -> None:
    sqlite_api.submit(*[reading(second=i / 100) for i in range(1100)])
    answer = sqlite_api.get("/api/sensors/ml-data")
    assert answer["sample_count"] == 1000
    assert answer["data"]["timestamps"][0] == "2026-01-29T12:00:01.000000Z"
    assert {len(column) for column in answer["data"].values()} == {1000}


# device ids


def test_ids_that_differ_in_case_accents_or_normal_form_are_different_devices(api: Api) -> None:
    names = [
        "ofen",
        "Ofen",
        "OFEN",
        "Öfen",
        "O\u0308fen",
        "öfen",
        "ﬁlter",
        "filter",
        "straße",
        "strasse",
    ]
    api.submit(*[reading(name, temperature=place) for place, name in enumerate(names)])
    assert {item["device_id"] for item in api.get("/api/sensors/devices")["devices"]} == set(names)
    for place, name in enumerate(names):
        found = api.get("/api/sensors/latest", device_id=name)["data"]
        assert (found["device_id"], found["temperature"]) == (name, place)
        assert counted(api, "stats", device_id=name) == 1


def test_ids_that_look_like_code_are_stored_and_found_as_they_are(api: Api) -> None:
    names = [
        "'; DROP TABLE sensor_readings; --", '" OR "1"="1', "__proto__", "constructor", "%s %(x)s", "a\\b\\n", "a%_b",
        ":name", "{device_id}", "機器42", "датчик", "🌡️ oven", "null", "\\N", "...", "a&b=c?d",
    ]  # fmt: skip
    api.submit(*[reading(name, temperature=place) for place, name in enumerate(names)])
    for place, name in enumerate(names):
        history = api.get("/api/sensors/history", device_id=name)
        assert (history["device_id"], history["count"]) == (name, 1)
        assert (history["data"][0]["device_id"], history["data"][0]["temperature"]) == (name, place)
    assert {item["device_id"] for item in api.get("/api/sensors/devices")["devices"]} == set(names)


@pytest.mark.parametrize("endpoint", ["latest", *WINDOWED])
def test_a_device_id_that_cannot_be_one_is_400_and_named(sqlite_api: Api, endpoint: str) -> None:
    for device_id in BAD_DEVICE_IDS:
        message = sqlite_api.get(f"/api/sensors/{endpoint}", expect=400, device_id=device_id)[
            "message"
        ]
        assert message.startswith("device_id: the device id "), device_id


# from and to


def test_windows_include_their_start_and_exclude_their_end(api: Api) -> None:
    api.submit(
        *[reading("ab"[i % 2], i) for i in range(5)], reading("a", 2.000001), reading("a", 1.999999)
    )
    for endpoint in WINDOWED:
        assert counted(api, endpoint, from_=noon(2)) == 4
        assert counted(api, endpoint, to=noon(2)) == 3
        assert counted(api, endpoint, from_=noon(1), to=noon(2)) == 2
        assert counted(api, endpoint, from_=noon(2), to=noon(2)) == 0
        assert counted(api, endpoint, from_=noon(2), to=noon(2.000001)) == 1
        assert counted(api, endpoint, from_=noon(1), to=noon(4), device_id="a") == 3
        assert counted(api, endpoint, from_="0001-01-01", to="9999-12-31T23:59:59.999999Z") == 7


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-29T12:00:02Z",
        "2026-01-29T12:00:02",
        "2026-01-29 12:00:02",
        "2026-01-29T12:00:02.000000+00:00",
        "2026-01-29T14:00:02+02:00",
        "2026-01-29T17:30:02+05:30",
        "2026-01-29T07:00:02-05:00",
        "20260129T120002Z",
        "1769688002",
        "1769688002.0",
        "1769688002000",
    ],
)
def test_a_time_may_be_written_as(sqlite_api: Api, moment: str) -> None:
    sqlite_api.submit(reading(second=1), reading(second=2), reading(second=3))
    for endpoint in WINDOWED:
        assert (
            counted(sqlite_api, endpoint, from_=moment),
            counted(sqlite_api, endpoint, to=moment),
        ) == (2, 1)


@pytest.mark.parametrize(
    "path",
    [f"/api/sensors/{endpoint}" for endpoint in WINDOWED]
    + [
        "/api/soil-health/history",
        "/api/sensor/history",
        "/api/panels/energy",
        "/api/machines/oee",
    ],
)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-29T12:00:03Z", "2026-01-29T12:00:01Z"),
        ("now", "-24h"),
        ("1769688003", "2026-01-29"),
    ],
)
def test_a_window_that_ends_before_it_begins_is_400(
    refusing: Api, path: str, start: str, end: str
) -> None:
    message = refusing.get(path, expect=400, from_=start, to=end, device_id="a")["message"]
    assert message.startswith("from: must ")
    assert "to" in message


@pytest.mark.parametrize("offset", ["+02:00", "+0200"])
def test_the_plus_of_an_offset_need_not_be_escaped_in_the_url(sqlite_api: Api, offset: str) -> None:
    sqlite_api.submit(reading(second=1), reading(second=3))
    found = sqlite_api.get(f"/api/sensors/history?from=2026-01-29T14:00:02{offset}")
    assert [item["timestamp"] for item in found["data"]] == ["2026-01-29T12:00:03.000000Z"]


@pytest.mark.parametrize(
    ("ago", "younger", "older"),
    [
        ("-90s", timedelta(seconds=30), timedelta(seconds=150)),
        ("-90m", timedelta(minutes=89), timedelta(minutes=91)),
        ("-24h", timedelta(hours=23), timedelta(hours=25)),
        ("-7d", timedelta(days=6), timedelta(days=8)),
        ("-2w", timedelta(days=13), timedelta(days=15)),
    ],
)
def test_a_time_may_be_relative_to_now(
    sqlite_api: Api, ago: str, younger: timedelta, older: timedelta
) -> None:
    now = datetime.now(UTC)
    sqlite_api.submit(
        reading("younger", timestamp=(now - younger).isoformat()),
        reading("older", timestamp=(now - older).isoformat()),
    )
    for endpoint in ("history", "ml-data"):
        assert counted(sqlite_api, endpoint, from_=ago) == 1
    assert sqlite_api.get("/api/sensors/history", from_=ago)["data"][0]["device_id"] == "younger"
    assert sqlite_api.get("/api/sensors/history", to=ago)["data"][0]["device_id"] == "older"
    assert counted(sqlite_api, "stats", from_=ago, to="now") == 1


@pytest.mark.parametrize("endpoint", WINDOWED)
@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_no_time_is_400_and_named(sqlite_api: Api, endpoint: str, name: str) -> None:
    for moment in NO_TIMES:
        message = sqlite_api.get(f"/api/sensors/{endpoint}", expect=400, **{name: moment})[
            "message"
        ]
        assert message.startswith(f"{name}: "), moment
        assert "ISO 8601" in message


# bounds


def test_the_documented_bounds_are_allowed(api: Api) -> None:
    for limit in (1, 10_000):
        assert counted(api, "history", limit=limit) == counted(api, "ml-data", limit=limit) == 0
    for offset in (0, 2**31, 2**53):
        assert counted(api, "history", offset=offset) == 0


@pytest.mark.parametrize(
    ("endpoint", "name", "values"),
    [
        ("history", "limit", [0, -1, 10_001, "ten", "", "1.5", "1e2", 10**30, "∞", "NaN"]),
        ("history", "offset", [-1, "first", "", "0.5", 10**30]),
        ("ml-data", "limit", [0, -1, "all", "", 10**30]),
    ],
)
def test_what_is_out_of_bounds_is_400_and_named(
    sqlite_api: Api, endpoint: str, name: str, values: list[Any]
) -> None:
    for value in values:
        message = sqlite_api.get(f"/api/sensors/{endpoint}", expect=400, **{name: value})["message"]
        assert message.startswith(f"{name}: should be "), value


# the health of each reading


GREENHOUSE = """
topic = "farm/{device_id}/climate"
[metrics.temperature]
ideal = [18, 26]
[metrics.humidity]
ideal = [50, 70]
weight = 3
[metrics.vent]
type = "text"
"""


def test_history_tells_the_health_of_each_reading_where_the_stream_has_ideal_bands(
    settings: Callable[..., Settings], database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / "greenhouse.toml").write_text(GREENHOUSE)
    with running(settings(database_url=database_url, streams_dir=folder)) as api:
        path = "/api/greenhouse/history"
        body = [
            {"device_id": "g", "temperature": 22, "humidity": 60, "timestamp": noon(1)},
            # 100 and 36.79 (an edge): mean (100·1 + 36.79·3) / 4 = 52.59, index (52.59 + 36.79) / 2 = 44.69.
            {"device_id": "g", "temperature": 22, "humidity": 70, "timestamp": noon(2)},
            {"device_id": "g", "humidity": 60, "timestamp": noon(3)},
            {"device_id": "g", "vent": "open", "timestamp": noon(4)},
        ]
        assert api.post("/api/greenhouse/readings", body)["stored"] == 4
        plain = api.get(path)
        assert all("health" not in item for item in plain["data"])
        whole = api.get(path, health=1)
        health = [item.pop("health") for item in whole["data"]]
        assert whole == plain == api.get(path, health=0)
        assert health == [
            {"index": None, "status": None, "limiting": None},
            {"index": 100.0, "status": "Excellent", "limiting": "humidity"},
            {"index": 44.7, "status": "Poor", "limiting": "humidity"},
            {"index": 100.0, "status": "Excellent", "limiting": "temperature"},
        ]


def test_the_health_of_a_stream_without_ideal_bands_is_400_and_says_how_to_declare_them(
    sqlite_api: Api,
) -> None:
    sqlite_api.submit(reading())
    message = sqlite_api.get("/api/sensors/history", expect=400, health=1)["message"]
    assert message == (
        "health: the stream sensors has no ideal bands. Declare at least one in sensors.toml, "
        "such as ideal = [15, 30] under [metrics.temperature]"
    )
    assert (
        "health: " in sqlite_api.get("/api/soil/history", expect=400, health="perhaps")["message"]
    )
