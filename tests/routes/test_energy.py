"""`/api/<stream>/energy`: kilowatt-hours and cost of a device, the same on every database."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from config import Settings
from tests.api import Api, running
from utils import clock

USED_STREAMS = "sensors,panels,machines"

PATH = "/api/panels/energy"
METERS = """
topic = "meters/{device_id}"
[energy]
power = "power"
counter = "total"
[metrics.power]
[metrics.total]
"""
BILLED = 'topic = "billed/{device_id}"\n[metrics.power]\n[energy]\npower = "power"\n'
TARIFF = "[energy.tariff]\nprice = 0.40\nhours = [{ from = 0, to = 6, price = 0.20 }]\n"
JANUARY: dict[str, Any] = {"from_": "2025-01-29", "to": "2025-01-30"}
WHOLE_DAY = {
    "start": "2025-01-29T00:00:00.000000Z",
    "end": "2025-01-30T00:00:00.000000Z",
    "local": "2025-01-29T00:00:00.000000+00:00",
}


def measured(
    start: str, count: int, step: float, power: float = 1000, **changes: Any
) -> list[dict[str, Any]]:
    """Readings of the same power, so many seconds apart from a time on."""
    times = [datetime.fromisoformat(start) + timedelta(seconds=i * step) for i in range(count)]
    return [
        {"device_id": "trafo1", "power": power, "timestamp": clock.rfc3339(time), **changes}
        for time in times
    ]


def store(api: Api, readings: list[dict[str, Any]], stream: str = "panels") -> None:
    """Store readings; all of them must be new."""
    assert api.post(f"/api/{stream}/readings", readings)["stored"] == len(readings)


@pytest.fixture
def meters(settings: Callable[..., Settings], database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API with meters that may have a counter, over an empty database of each kind in turn."""
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "meters.toml").write_text(METERS)
    (tmp_path / "streams" / "billed.toml").write_text(BILLED + TARIFF)
    with running(settings(database_url=database_url, streams_dir=tmp_path / "streams")) as made:
        yield made


def counted(api: Api, *counts: tuple[str, float]) -> None:
    """Store what the counter of the meter m1 showed at some times."""
    store(
        api,
        [{"device_id": "m1", "total": total, "timestamp": time} for time, total in counts],
        "meters",
    )


# Power


def test_it_answers_with_the_energy_and_cost_of_each_day_and_in_total(api: Api) -> None:
    store(api, measured("2025-01-29T06:00", 13, 600))
    figures = {
        "energy": 2.0,
        "cost": 2500.0,
        "coverage": 8.33,
    }  # 1 kW · 2 h; 1250 Rp a kWh; 2 of 24 h
    assert api.get(PATH, device_id="trafo1", **JANUARY) == {
        "device_id": "trafo1", "from": "2025-01-29T00:00:00.000000Z", "to": "2025-01-30T00:00:00.000000Z", "tz": "UTC",
        "interval": "day", "method": "power", "currency": "Rp", "gap": 900.0,
        **figures, "data": [{**WHOLE_DAY, **figures}],
    }  # fmt: skip


def test_readings_count_in_the_order_of_their_times_and_of_this_device_only(api: Api) -> None:
    store(api, measured("2025-01-29T06:00", 7, 600, 1000)[::-1])
    store(api, measured("2025-01-29T06:05", 7, 600, 9999, device_id="trafo2"))
    assert api.get(PATH, device_id="trafo1", **JANUARY)["energy"] == 1.0
    assert api.get(PATH, device_id="trafo2", **JANUARY)["energy"] == 9.999


def test_readings_of_other_metrics_between_those_of_power_change_nothing(api: Api) -> None:
    for minute, value in ((0, 600), (10, 1200)):
        body = {"value": value, "timestamp": f"2025-01-29T06:{minute:02}:00Z"}
        api.post("/api/panels/readings", body, device_id="trafo1", metric="power")
        api.post("/api/panels/readings", body, device_id="trafo1", metric="voltage")
    answer = api.get(PATH, device_id="trafo1", **JANUARY)
    assert (answer["energy"], answer["coverage"]) == (0.15, 0.69)  # 900 W · 600 s; 600 of 86,400 s


def test_readings_beyond_the_ends_of_the_window_count_up_to_them(api: Api) -> None:
    store(api, measured("2025-01-29T05:50", 2, 900))
    window: dict[str, Any] = {"from_": "2025-01-29T06:00", "to": "2025-01-29T06:03"}
    answer = api.get(PATH, device_id="trafo1", **window)
    assert (answer["energy"], answer["coverage"]) == (0.05, 100)  # 1 kW · 3 min


def test_hours_and_days_are_those_of_the_time_zone(api: Api) -> None:
    # 30 March 2025 in Berlin begins at 23:00 UTC and has 23 hours: 1 kW from an hour before to an hour after.
    store(api, measured("2025-03-29T22:00", 101, 900))
    window: dict[str, Any] = {
        "from_": "2025-03-29T23:00",
        "to": "2025-03-30T22:00",
        "tz": "Europe/Berlin",
    }
    daily = api.get(PATH, device_id="trafo1", **window)
    assert [(bucket["local"], bucket["energy"]) for bucket in daily["data"]] == [
        ("2025-03-30T00:00:00.000000+01:00", 23)
    ]
    hourly = api.get(PATH, device_id="trafo1", interval="hour", **window)["data"]
    assert [bucket["local"][11:13] for bucket in hourly[:4]] == ["00", "01", "03", "04"]
    assert [bucket["energy"] for bucket in hourly] == [1.0] * 23
    assert [bucket["end"] for bucket in hourly[:-1]] == [bucket["start"] for bucket in hourly[1:]]


def test_months_are_listed_also_where_nothing_is_known(api: Api) -> None:
    store(api, measured("2025-01-31T22:00", 13, 900))
    window: dict[str, Any] = {
        "from_": "2024-12-31T17:00",
        "to": "2025-03-31T17:00",
        "tz": "Asia/Jakarta",
    }
    months = api.get(PATH, device_id="trafo1", interval="month", **window)["data"]
    # The three hours from 05:00 on 1 February in Jakarta.
    assert [(month["local"][:10], month["energy"]) for month in months] == [
        ("2025-01-01", None), ("2025-02-01", 3), ("2025-03-01", None),
    ]  # fmt: skip


def test_of_a_device_that_nobody_knows_there_are_nulls(api: Api) -> None:
    answer = api.get(PATH, device_id="nobody", **JANUARY)
    nothing = {"energy": None, "cost": None, "coverage": 0.0}
    assert nothing.items() <= answer.items()
    assert answer["data"] == [{**WHOLE_DAY, **nothing}]


def test_without_a_window_it_is_the_last_24_hours(sqlite_api: Api) -> None:
    start = clock.now() - timedelta(hours=30)
    store(
        sqlite_api, measured(start.isoformat(), 29, 3600 / 4)
    )  # seven hours, of which one is in the window
    answer = sqlite_api.get(PATH, device_id="trafo1")
    assert answer["energy"] == pytest.approx(1, abs=0.01)
    assert datetime.fromisoformat(answer["to"]) - datetime.fromisoformat(
        answer["from"]
    ) >= timedelta(days=1)


def test_more_readings_than_are_read_at_once_give_the_closed_form(api: Api) -> None:
    for start in (0, 6000):
        body = [
            {"device_id": "trafo1", "power": i, "timestamp": 1738108800 + i}  # 2025-01-29T00:00:00Z
            for i in range(start, start + 6000)
        ]
        store(api, body)
    answer = api.get(PATH, device_id="trafo1", **JANUARY)
    assert answer["energy"] == pytest.approx(11_999**2 / 2 / 3_600_000, abs=1e-6)  # ∫ t dt in Ws


def test_the_cost_of_the_hours_adds_up_to_the_whole(meters: Api) -> None:
    store(meters, measured("2025-01-29T00:00", 145, 600, 10), "billed")  # 10 W for a day
    answer = meters.get("/api/billed/energy", device_id="trafo1", interval="hour", **JANUARY)
    assert (answer["energy"], answer["cost"]) == (0.24, 0.084)
    assert [hour["cost"] for hour in answer["data"]] == [0.002] * 6 + [0.004] * 18
    assert sum(hour["cost"] for hour in answer["data"]) == pytest.approx(answer["cost"], abs=24e-6)


def test_what_is_next_to_nothing_is_not_minus_zero(meters: Api) -> None:
    store(meters, measured("2025-01-29T06:00", 2, 600, -1e-6), "billed")
    answer = meters.get("/api/billed/energy", device_id="trafo1", **JANUARY)
    assert [str(answer[name]) for name in ("energy", "cost")] == ["0.0", "0.0"]


# Counters


def test_a_counter_says_the_energy_also_over_gaps_and_from_far_outside(meters: Api) -> None:
    # 48 kWh in 48 hours, one an hour; then 6 in a quarter of an hour, and 24 in the 24 hours after it.
    counted(
        meters, ("2025-01-27T12:00Z", 100), ("2025-01-29T12:00Z", 148), ("2025-01-29T12:15Z", 154)
    )
    counted(meters, ("2025-01-30T12:15Z", 178))
    answer = meters.get("/api/meters/energy", device_id="m1", interval="hour", **JANUARY)
    assert (answer["method"], answer["currency"], answer["cost"]) == ("counter", None, None)
    # 12 until noon, 6 in the next quarter, then one an hour for 11 ¾ hours; only the quarter is covered.
    assert (answer["energy"], answer["coverage"]) == (29.75, 1.04)
    assert [hour["energy"] for hour in answer["data"]] == [1] * 12 + [6.75] + [1] * 11


def test_a_reset_of_the_counter_and_jitter_are_told_apart(meters: Api) -> None:
    times = [f"2025-01-29T0{hour}:00Z" for hour in range(6)]
    counted(meters, *zip(times, [50, 49.9, 52, 3, 2.9, 4], strict=True))
    answer = meters.get("/api/meters/energy", device_id="m1", interval="hour", **JANUARY)
    assert [hour["energy"] for hour in answer["data"][:5]] == [0, 2, 3, 0, 1]
    assert answer["energy"] == 6


def test_jitter_just_before_the_window_is_not_counted_within_it(meters: Api) -> None:
    counted(meters, ("2025-01-28T23:50Z", 50), ("2025-01-28T23:55Z", 49), ("2025-01-29T00:00Z", 50))
    counted(meters, ("2025-01-29T01:00Z", 51))
    assert meters.get("/api/meters/energy", device_id="m1", **JANUARY)["energy"] == 1


def test_a_meter_without_a_counter_is_measured_by_its_power(meters: Api) -> None:
    counted(meters, ("2025-01-29T12:00Z", 148))
    store(meters, measured("2025-01-29T06:00", 5, 900), "meters")
    for device_id, energy in (("trafo1", 1), ("m1", None)):
        answer = meters.get("/api/meters/energy", device_id=device_id, **JANUARY)
        assert (answer["method"], answer["energy"]) == ("power", energy)


def test_the_counter_goes_before_power(meters: Api) -> None:
    store(meters, measured("2025-01-29T06:00", 5, 900, device_id="m1"), "meters")
    counted(meters, ("2025-01-29T06:00Z", 10), ("2025-01-29T07:00Z", 12))
    answer = meters.get("/api/meters/energy", device_id="m1", **JANUARY)
    assert (answer["method"], answer["energy"]) == ("counter", 2)


@pytest.mark.parametrize("wrong", [0, 99999999, 6712, -1])
def test_one_wrong_reading_of_a_counter_changes_nothing(meters: Api, wrong: float) -> None:
    first = datetime(2025, 1, 29)
    counts = [wrong if place == 12 else 13423.7 + place / 10 for place in range(36)]
    counted(
        meters,
        *(
            (clock.rfc3339(first + timedelta(minutes=10 * i)), count)
            for i, count in enumerate(counts)
        ),
    )
    window: dict[str, Any] = {"from_": "2025-01-29", "to": "2025-01-29T06:00", "interval": "hour"}
    answer = meters.get("/api/meters/energy", device_id="m1", **window)
    assert answer["energy"] == 3.5
    assert [hour["energy"] for hour in answer["data"]] == [0.6] * 5 + [0.5]


@pytest.mark.parametrize("wrong", [[0], [99999999], [0, 99999999], [99999999, 0]])
def test_wrong_readings_of_a_counter_around_a_time_change_nothing_within_it(
    meters: Api, wrong: list[float]
) -> None:
    # One kilowatt from four hours before the day until four hours after it.
    times = [datetime(2025, 1, 28, 20) + timedelta(minutes=30 * place) for place in range(64)]
    counts = [100 + place / 2 for place in range(64)]
    counts[8 - len(wrong) : 8] = counts[56 : 56 + len(wrong)] = wrong
    counted(meters, *zip(map(clock.rfc3339, times), counts, strict=True))
    answer = meters.get("/api/meters/energy", device_id="m1", interval="hour", **JANUARY)
    assert [hour["energy"] for hour in answer["data"]] == [1] * 24


@pytest.mark.parametrize(
    ("first", "used"),
    [
        pytest.param([99999999], 3.4, id="a spike"),
        pytest.param([0], 3.4, id="a wrong 0"),
        pytest.param([0, 0], 3.3, id="two of them"),
        pytest.param([500 + place / 10 for place in range(18)], 3.4, id="another meter"),
    ],
)
def test_what_a_counter_cannot_have_counted_since_its_first_readings_is_no_energy(
    meters: Api, first: list[float], used: float
) -> None:
    counts = first + [13424.8 + place / 10 for place in range(36 - len(first))]
    times = [datetime(2025, 1, 29) + timedelta(minutes=10 * place) for place in range(36)]
    counted(meters, *zip(map(clock.rfc3339, times), counts, strict=True))
    whole: dict[str, Any] = {
        "device_id": "m1",
        "from_": "2025-01-29",
        "to": "2025-01-29T06:00",
        "interval": "hour",
    }
    answer = meters.get("/api/meters/energy", **whole)
    # 34 of the 36 times ten minutes: the last one has no end.
    assert (answer["energy"], answer["coverage"]) == (used, 94.44)
    assert sum(hour["energy"] for hour in answer["data"]) == pytest.approx(used)
    for middle in ("2025-01-29T00:10", "2025-01-29T00:15", "2025-01-29T02:55", "2025-01-29T03:00"):
        parts = [
            meters.get("/api/meters/energy", **(whole | part))
            for part in ({"to": middle}, {"from_": middle})
        ]
        assert sum(part["energy"] or 0 for part in parts) == pytest.approx(used)


def test_hours_of_which_the_counter_says_nothing_are_measured_by_power(meters: Api) -> None:
    store(
        meters, measured("2025-01-29T06:00", 13, 600, device_id="m1"), "meters"
    )  # 1 kW from 6 to 8
    counted(meters, ("2025-01-29T07:00Z", 10), ("2025-01-29T08:00Z", 15))
    answer = meters.get("/api/meters/energy", device_id="m1", interval="hour", **JANUARY)
    assert (answer["method"], answer["energy"]) == ("both", 6)
    assert [hour["energy"] for hour in answer["data"][6:8]] == [1, 5]


# What may be asked


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "device_id"),
        ({"device_id": "a/b"}, "device_id"),
        ({"device_id": "a", "interval": "week"}, "interval: should be 'hour', 'day' or 'month'"),
        ({"device_id": "a", "tz": "Mars"}, "tz: there is no time zone 'Mars'"),
        ({"device_id": "a", "from": "yesterday"}, "from"),
        ({"device_id": "a", "from": "2025-01-30", "to": "2025-01-29"}, "from: must be before to"),
        ({"device_id": "a", "from": "0001-01-01"}, "from: must be before to, by 3660 days at most"),
        ({"device_id": "a", "to": "0001-01-02"}, "from: must be before to"),
        (
            {"device_id": "a", "from": "1969-01-01", "to": "1970-01-01"},
            "from, to: must be within the years",
        ),
        (
            {"device_id": "a", "from": "9999-12-30", "to": "9999-12-31"},
            "from, to: must be within the years",
        ),
        (
            {"device_id": "a", "interval": "hour", "from": "2020-01-01", "to": "2025-01-29"},
            "choose day or month",
        ),
    ],
)
def test_what_cannot_be_answered_is_400_and_says_why(
    refusing: Api, query: dict[str, Any], said: str
) -> None:
    assert said in refusing.get(PATH, expect=400, **query)["message"]


def test_there_are_at_most_10_000_hours(sqlite_api: Api) -> None:
    start = datetime(2024, 1, 1)
    window: dict[str, Any] = {"device_id": "a", "interval": "hour", "from_": start.isoformat()}
    end = start + timedelta(hours=10_000)
    assert len(sqlite_api.get(PATH, to=end.isoformat(), **window)["data"]) == 10_000
    later = (end + timedelta(seconds=1)).isoformat()
    assert (
        "interval: more than 10000 hours"
        in sqlite_api.get(PATH, expect=400, to=later, **window)["message"]
    )


def test_only_streams_that_declare_it_have_it(sqlite_api: Api) -> None:
    sqlite_api.get("/api/sensors/energy", expect=404, device_id="a")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/panels/energy", {"device_id", "from", "to", "tz", "interval"}),
        ("/api/machines/oee", {"device_id", "from", "to", "tz", "shift"}),
    ],
)
def test_the_figures_are_documented_as_they_are(
    sqlite_api: Api, path: str, names: set[str]
) -> None:
    document = sqlite_api.get("/api/docs/openapi.json")
    operation = document["paths"][path]["get"]
    assert {parameter["name"] for parameter in operation["parameters"]} == names
    assert operation["responses"].keys() >= {"200", "400", "503"}
    declared = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = sqlite_api.get(path, device_id="a")
    schema = document["components"]["schemas"][declared["$ref"].rsplit("/", 1)[1]]
    assert schema["properties"].keys() == answer.keys()
    whole = {**declared, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(answer)
