"""`/api/soil-health`: what clients of Harit Samarth post and ask, on every database."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import Api, noon, running
from tests.support import SOIL_VALUES, publishing, wait_for

ANALYZE, BATCH, HISTORY = (
    f"/api/soil-health/{name}" for name in ("analyze", "batch-analyze", "history")
)
TOPIC = "harit-samarth/sensor/data"
TESTED = {"N": 22, "P": 18, "K": 150, "CO2": 500, "Temperature": 22, "Moisture": 55, "pH": 7.2}
"""The reading that the document publishes with mosquitto_pub and with paho."""
PUBLISHED = {
    "timestamp": "2025-12-02T17:50:00.123456", "publisher_id": "sensor-publisher-01", "sensor_readings": SOIL_VALUES,
}  # fmt: skip
ANALYSIS_KEYS = {
    "success", "health_index", "status", "anomalies", "limiting", "missing", "factors", "device_id", "timestamp",
}  # fmt: skip


def bare(second: float = 0, **changes: Any) -> dict[str, Any]:
    """Bare values at so many seconds after noon; None leaves a field out."""
    whole = SOIL_VALUES | {"timestamp": noon(second)} | changes
    return {key: value for key, value in whole.items() if value is not None}


def stored(api: Api) -> int:
    """How many readings of soil the database has."""
    return int(api.get("/api/soil/stats")["stats"]["count"])


# analyze


def test_bare_values_are_stored_and_analysed(api: Api) -> None:
    answer = api.post(ANALYZE, SOIL_VALUES, expect=200)
    assert answer.keys() == ANALYSIS_KEYS | {"stored"}
    assert (answer["success"], answer["health_index"], answer["status"]) == (True, 71.0, "Good")
    assert (answer["anomalies"], answer["limiting"], answer["missing"]) == ([], "Moisture", [])
    assert [item["factor"] for item in answer["factors"]] == list(SOIL_VALUES)
    assert (answer["stored"], answer["device_id"]) == (True, "sensor-publisher-01")
    newest = api.get("/api/soil/latest")["data"]
    assert {name: newest[name] for name in SOIL_VALUES} == SOIL_VALUES
    assert newest["timestamp"] == answer["timestamp"]
    age = datetime.now(UTC) - datetime.fromisoformat(newest["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_what_a_device_publishes_is_understood_too(api: Api) -> None:
    answer = api.post(ANALYZE, PUBLISHED, expect=200)
    assert (answer["health_index"], answer["stored"]) == (71.0, True)
    assert (answer["device_id"], answer["timestamp"]) == (
        "sensor-publisher-01",
        "2025-12-02T17:50:00.123456Z",
    )
    assert api.post(ANALYZE, PUBLISHED, expect=200) == answer | {"stored": False}
    assert stored(api) == 1


def test_bare_values_may_say_device_and_time(api: Api) -> None:
    for place, field in enumerate(("publisher_id", "device_id")):
        answer = api.post(ANALYZE, bare(place, **{field: "bed-7"}), expect=200)
        assert (answer["device_id"], answer["timestamp"], answer["stored"]) == (
            "bed-7",
            api_time(place),
            True,
        )
        assert api.post(ANALYZE, bare(place, **{field: "bed-7"}), expect=200)["stored"] is False
    nested = {"device_id": "bed-8", "sensor_readings": SOIL_VALUES, "timestamp": 1769697045.5}
    assert api.post(ANALYZE, nested, expect=200)["device_id"] == "bed-8"
    listed = api.get("/api/soil/devices")["devices"]
    assert [item["device_id"] for item in listed] == ["bed-7", "bed-8"]
    assert stored(api) == 3


def api_time(second: int) -> str:
    """A time after noon as answers have it."""
    return f"2026-01-29T12:00:0{second}.000000Z"


def test_bare_values_without_a_time_are_stored_each_time(sqlite_api: Api) -> None:
    assert [sqlite_api.post(ANALYZE, SOIL_VALUES, expect=200)["stored"] for _ in range(3)] == [
        True
    ] * 3
    assert stored(sqlite_api) == 3


def test_numbers_may_come_as_text_and_other_fields_are_ignored(sqlite_api: Api) -> None:
    texts: dict[str, Any] = {name: str(value) for name, value in SOIL_VALUES.items()}
    answer = sqlite_api.post(ANALYZE, texts | {"location": {"bed": 7}}, expect=200)
    assert answer["health_index"] == 71.0
    assert sqlite_api.get("/api/soil/latest")["data"]["pH"] == 7.18


def test_values_off_their_bands_are_anomalies_with_advice(sqlite_api: Api) -> None:
    answer = sqlite_api.post(ANALYZE, bare(N=12, Moisture=1e308), expect=200)
    assert [(item["factor"], item["status"]) for item in answer["anomalies"]] == [
        ("N", "low"),
        ("Moisture", "high"),
    ]
    assert (
        "12 mg/kg is 3 below the ideal 15 to 30 mg/kg. Add compost"
        in answer["anomalies"][0]["message"]
    )
    assert (answer["limiting"], answer["status"]) == ("Moisture", "Critical")


@pytest.mark.parametrize(
    ("body", "reason", "named"),
    [
        (bare(N="abc"), "not_a_number", 'N: not a number: "abc"'),
        (bare(pH=None), "missing_field", "pH: missing"),
        ({}, "missing_field", "N: missing"),
        (bare() | {"K": None}, "not_a_number", "K: "),
        (bare(CO2="1e999"), "number_out_of_range", "CO2: "),
        (bare(device_id="a/b"), "invalid_device_id", "publisher_id: "),
        (bare(device_id=7.5), "invalid_device_id", "publisher_id: "),
        (PUBLISHED | {"sensor_readings": 5}, "not_an_object", "sensor_readings: "),
        (PUBLISHED | {"sensor_readings": {"N": 22}}, "missing_field", "P: missing"),
        (7, "not_an_object", "expected a JSON object"),
        (bare(note="x" * 70_000), "too_large", "at most 65536"),
    ],
)
def test_a_bad_reading_is_400_and_kept_among_the_rejected(
    sqlite_api: Api, body: Any, reason: str, named: str
) -> None:
    answer = sqlite_api.post(ANALYZE, body, expect=400)
    assert (answer["success"], answer["reason"]) == (False, reason)
    assert named in answer["message"]
    (kept,) = sqlite_api.get("/api/rejected")["data"]
    assert (kept["stream"], kept["topic"], kept["reason"]) == ("soil", TOPIC, reason)
    assert stored(sqlite_api) == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ('{"N":' * 10_000, "not JSON"),
        ([SOIL_VALUES], "/api/soil-health/batch-analyze"),
        (" [ ]", "/api/soil-health/batch-analyze"),
    ],
)
def test_a_body_that_is_no_reading_is_400_and_counts_as_none(
    sqlite_api: Api, body: Any, expected: str
) -> None:
    assert expected in sqlite_api.post(ANALYZE, body, expect=400)["message"]
    assert sqlite_api.get("/api/health")["http"]["received"] == 0


def test_every_analysed_reading_is_counted_like_any_other(api: Api) -> None:
    api.post(ANALYZE, PUBLISHED, expect=200)
    api.post(ANALYZE, PUBLISHED, expect=200)
    api.post(ANALYZE, bare(N="abc"), expect=400)
    http = api.get("/api/health")["http"]
    assert [http[name] for name in ("received", "stored", "duplicate", "rejected")] == [3, 1, 1, 1]


@pytest.mark.process
def test_what_came_by_mqtt_is_known_when_it_is_posted(
    settings: Callable[..., Settings], fast_broker: int
) -> None:
    payload = json.dumps(
        {"timestamp": "2025-12-02T17:00:00", "sensor_readings": TESTED}, separators=(",", ":")
    )
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker), start=True) as api:
        wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
        with publishing(fast_broker) as publish:
            publish(TOPIC, payload)
        wait_for(lambda: stored(api), what="the reading by MQTT")
        answer = api.post(ANALYZE, payload, expect=200)
        assert (answer["stored"], answer["device_id"], answer["status"]) == (
            False,
            "sensor-publisher-01",
            "Good",
        )
        assert stored(api) == 1


# batch-analyze


def test_a_batch_is_stored_and_each_reading_analysed_in_order(api: Api) -> None:
    body = [PUBLISHED, bare(1, device_id="bed-7"), bare(2, N=12), PUBLISHED]
    answer = api.post(BATCH, body, expect=200)
    results = answer.pop("results")
    assert answer == {"success": True, "count": 4, "stored": 3, "duplicate": 1, "rejected": 0}
    assert [item["index"] for item in results] == [0, 1, 2, 3]
    assert all(item.keys() == ANALYSIS_KEYS | {"index"} for item in results)
    assert [item["device_id"] for item in results] == ["sensor-publisher-01", "bed-7"] + [
        "sensor-publisher-01"
    ] * 2
    assert [len(item["anomalies"]) for item in results] == [0, 0, 1, 0]
    assert stored(api) == 3


def test_bad_readings_of_a_batch_are_named_in_their_places_and_their_neighbours_are_kept(
    api: Api,
) -> None:
    body = [
        bare(0),
        bare(1, N="abc"),
        7,
        bare(2),
        bare(3, pH=None),
        bare(4, device_id="#"),
        bare(5),
    ]
    answer = api.post(BATCH, body, expect=200)
    assert (answer["count"], answer["stored"], answer["duplicate"], answer["rejected"]) == (
        7,
        3,
        0,
        4,
    )
    assert [item["success"] for item in answer["results"]] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    bad = [item for item in answer["results"] if not item["success"]]
    assert [(item["index"], item["reason"]) for item in bad] == [
        (1, "not_a_number"), (2, "not_an_object"), (4, "missing_field"), (5, "invalid_device_id"),
    ]  # fmt: skip
    assert bad[0] == {
        "index": 1,
        "success": False,
        "reason": "not_a_number",
        "message": 'N: not a number: "abc"',
    }
    assert api.get("/api/rejected")["counts"] == {
        "not_a_number": 1, "not_an_object": 1, "missing_field": 1, "invalid_device_id": 1,
    }  # fmt: skip
    assert stored(api) == 3


def test_the_readings_may_stand_in_an_object(sqlite_api: Api) -> None:
    answer = sqlite_api.post(BATCH, {"readings": [bare(0), bare(1)], "field": "north"}, expect=200)
    assert (answer["count"], answer["stored"]) == (2, 2)


@pytest.mark.long
def test_a_batch_may_have_10000_readings_and_no_more(api: Api) -> None:
    body = json.dumps([bare(i / 1000) for i in range(10_000)])
    answer = api.post(BATCH, body, expect=200)
    assert (answer["count"], answer["stored"]) == (10_000, 10_000)
    assert {item["health_index"] for item in answer["results"]} == {71.0}
    refused = api.post(
        BATCH, json.dumps({"readings": [bare(i / 1000) for i in range(10_001)]}), expect=400
    )
    assert "at most 10000 are allowed" in refused["message"]
    assert stored(api) == 10_000


@pytest.mark.parametrize(
    "body",
    ["", "{", "[1, 2", '{"readings": [}', "nonsense", [], {"readings": []}, {}, SOIL_VALUES, 7, "[]", {"readings": {"N": 1}},
     {"readings": None}],
)  # fmt: skip
def test_a_body_that_is_no_batch_is_400(sqlite_api: Api, body: Any) -> None:
    assert sqlite_api.post(BATCH, body, expect=400)["message"]
    assert sqlite_api.get("/api/health")["http"]["received"] == 0


# history


def test_history_has_the_latest_100_readings_with_analysis_newest_first(api: Api) -> None:
    api.post(BATCH, [bare(i / 10, N=12 if i == 149 else 22.5) for i in range(150)], expect=200)
    answer = api.get(HISTORY)
    data = answer.pop("data")
    assert answer == {"success": True, "count": 100, "limit": 100, "offset": 0, "device_id": None}
    plain = api.get("/api/soil/history")["data"]
    assert [{name: item[name] for name in plain[0]} for item in data] == plain
    assert [item["health_index"] for item in data[1:]] == [71.0] * 99
    assert [item["factor"] for item in data[0]["anomalies"]] == ["N"]
    assert data[0]["status"] != data[1]["status"] == "Good"
    assert api.get(HISTORY, limit=7)["count"] == 7


def test_history_pages_by_device_and_time_as_everywhere(api: Api) -> None:
    api.post(BATCH, [bare(i, device_id="ab"[i % 2]) for i in range(10)], expect=200)
    assert api.get(HISTORY, device_id="a")["count"] == 5
    window = api.get(HISTORY, from_=noon(2), to=noon(5))
    assert [item["timestamp"] for item in window["data"]] == [api_time(4), api_time(3), api_time(2)]
    assert [item["timestamp"] for item in api.get(HISTORY, offset=8)["data"]] == [
        api_time(1),
        api_time(0),
    ]
    for name, value in (
        ("limit", 0),
        ("limit", 10_001),
        ("offset", -1),
        ("device_id", "a/b"),
        ("from", "noon"),
    ):
        assert api.get(HISTORY, expect=400, **{name: value})["message"].startswith(f"{name}: ")


def test_history_of_nothing_is_empty(api: Api) -> None:
    assert api.get(HISTORY) == {
        "success": True, "count": 0, "limit": 100, "offset": 0, "device_id": None, "data": [],
    }  # fmt: skip


@pytest.mark.long
def test_pages_of_10000_out_of_100000_readings_are_analysed(sqlite_api: Api) -> None:
    start = datetime(2026, 1, 1)
    for part in range(10):
        seconds = range(part * 10_000, (part + 1) * 10_000)
        body = [
            bare(timestamp=(start + timedelta(seconds=second)).isoformat()) for second in seconds
        ]
        assert (
            sqlite_api.post("/api/soil/readings", [nested(item) for item in body])["stored"]
            == 10_000
        )
    newest = sqlite_api.get(HISTORY, limit=10_000)
    oldest = sqlite_api.get("/api/soil/history", limit=10_000, offset=90_000, health=1)
    assert (newest["count"], newest["data"][0]["timestamp"]) == (
        10_000,
        "2026-01-02T03:46:39.000000Z",
    )
    assert (oldest["count"], oldest["data"][-1]["timestamp"]) == (
        10_000,
        "2026-01-01T00:00:00.000000Z",
    )
    assert {item["health_index"] for item in newest["data"]} == {71.0}
    assert {item["health"]["index"] for item in oldest["data"]} == {71.0}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Bare values as a device publishes them."""
    return {
        "timestamp": flat["timestamp"],
        "sensor_readings": {name: flat[name] for name in SOIL_VALUES},
    }


# optimal-ranges


def test_the_ranges_are_the_declared_bands(sqlite_api: Api) -> None:
    answer = sqlite_api.get("/api/soil-health/optimal-ranges")
    assert answer.keys() == {"success", "ranges", "status_bands"}
    assert list(answer["ranges"]) == list(SOIL_VALUES)
    assert answer["ranges"]["N"] == {
        "min": 15,
        "max": 30,
        "unit": "mg/kg",
        "title": "Nitrogen",
        "weight": 1.5,
    }
    assert answer["status_bands"] == {
        "Excellent": 75,
        "Good": 60,
        "Fair": 45,
        "Poor": 30,
        "Critical": 0,
    }


# other declarations


@pytest.mark.database
@pytest.mark.parametrize(
    ("text", "body"),
    [
        ('topic = "soil"\ndevice = "node"\n', {"node": "n1"}),
        ('topic = "soil/{device_id}"\n', {"device_id": "n1"}),
        ('topic = "soil/{device_id}"\nvalues = "probe"\n', {"device_id": "n1"}),
        ('topic = "soil/{device_id}/{metric}"\n', {"device_id": "n1"}),
    ],
)
def test_soil_may_be_declared_otherwise(
    settings: Callable[..., Settings], tmp_path: Path, text: str, body: dict[str, Any]
) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / "soil.toml").write_text(
        f"{text}[metrics.moisture]\nideal = [40, 60]\n[metrics.ph]\nideal = [6, 8]\n"
    )
    with running(settings(streams_dir=folder)) as api:
        answer = api.post(ANALYZE, body | {"moisture": 50}, expect=200)
        assert (answer["health_index"], answer["missing"], answer["device_id"]) == (
            100.0,
            ["ph"],
            "n1",
        )
        assert api.get(HISTORY, device_id="n1")["data"][0]["health_index"] == 100.0


@pytest.mark.database
@pytest.mark.parametrize(("name", "ideal"), [("soil", ""), ("beds", "ideal = [40, 60]\n")])
def test_without_a_stream_soil_that_has_ideal_bands_there_are_no_such_endpoints(
    settings: Callable[..., Settings], tmp_path: Path, name: str, ideal: str
) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / f"{name}.toml").write_text(f'topic = "x/{{device_id}}"\n[metrics.moisture]\n{ideal}')
    with running(settings(streams_dir=folder)) as api:
        assert "Declared streams" in api.get(HISTORY, expect=404)["message"]
        assert api.get(f"/api/{name}/history")["count"] == 0
