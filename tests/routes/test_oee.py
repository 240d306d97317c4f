"""`/api/<stream>/oee`: availability, performance and quality of a machine, the same on every database."""

from typing import Any

import pytest

from tests.api import Api

USED_STREAMS = "sensors,machines"

PATH = "/api/machines/oee"
MORNING: dict[str, Any] = {"from_": "2025-01-29T06:00", "to": "2025-01-29T07:00"}


def said(
    time: str, state: str, performance: float = 80, quality: float = 90, **changes: Any
) -> dict[str, Any]:
    """What the machine C_FL001 says on 29 January 2025."""
    rates = {"performance_rate": performance, "quality_rate": quality}
    return {
        "machine_id": "C_FL001",
        "machine_status": state,
        **rates,
        "timestamp": f"2025-01-29T{time}Z",
        **changes,
    }


def store(api: Api, *readings: dict[str, Any]) -> None:
    """Store readings; all of them must be new."""
    assert api.post("/api/machines/readings", list(readings))["stored"] == len(readings)


def test_it_answers_with_the_oee_and_what_it_is_made_of(api: Api) -> None:
    store(
        api,
        said("06:00:00", "Running", 60),
        said("06:03:00", "Idle"),
        said("06:04:00", "Running", 100),
    )
    store(api, said("06:05:00", "Idle"), said("06:08:00", "Idle"))
    # Running 4 of 8 minutes; performance (3 · 60 + 1 · 100) / 4; 0.5 · 0.7 · 0.9; 8 of 60 minutes are known.
    assert api.get(PATH, device_id="C_FL001", **MORNING) == {
        "device_id": "C_FL001", "from": "2025-01-29T06:00:00.000000Z", "to": "2025-01-29T07:00:00.000000Z", "tz": "UTC",
        "shift": None, "gap": 300.0,
        "availability": 50.0, "performance": 70.0, "quality": 90.0, "oee": 31.5, "coverage": 13.33,
        "states": {"Idle": 240.0, "Running": 240.0},
        "seconds": {"window": 3600.0, "known": 480.0, "running": 240.0}, "notes": [],
    }  # fmt: skip


def test_readings_count_in_the_order_of_their_times_and_of_this_machine_only(api: Api) -> None:
    store(
        api, said("06:04:00", "Stopped"), said("06:00:00", "Running"), said("06:03:00", "Stopped")
    )
    store(
        api,
        said("06:01:00", "Maintenance", machine_id="C_FL002"),
        said("06:02:00", "Idle", machine_id="C_FL002"),
    )
    answer = api.get(PATH, device_id="C_FL001", **MORNING)
    assert (answer["availability"], answer["states"]) == (75, {"Running": 180, "Stopped": 60})
    assert api.get(PATH, device_id="C_FL002", **MORNING)["states"] == {"Maintenance": 60}


def test_readings_beyond_the_ends_of_the_window_hold_up_to_them(api: Api) -> None:
    store(api, said("05:57:00", "Running"), said("06:01:00", "Idle"))
    store(api, said("06:58:00", "Stopped"), said("07:02:00", "Running"))
    assert api.get(PATH, device_id="C_FL001", **MORNING)["states"] == {
        "Running": 60,
        "Stopped": 120,
    }


def test_what_happened_in_a_gap_is_unknown(api: Api) -> None:
    store(
        api, said("06:00:00", "Running"), said("06:05:00", "Running"), said("06:10:01", "Stopped")
    )
    answer = api.get(PATH, device_id="C_FL001", **MORNING)
    assert (answer["availability"], answer["coverage"]) == (100, 8.33)  # 5 of 60 minutes


def test_a_shift_counts_by_the_clocks_of_the_time_zone(api: Api) -> None:
    # 06:00 in Berlin is 05:00 UTC: of ten minutes the second five are in the shift.
    store(
        api, said("04:55:00", "Stopped"), said("05:00:00", "Running"), said("05:05:00", "Running")
    )
    window: dict[str, Any] = {
        "from_": "2025-01-28T23:00",
        "to": "2025-01-29T23:00",
        "tz": "Europe/Berlin",
    }
    answer = api.get(PATH, device_id="C_FL001", shift="06:00-14:00", **window)
    assert (answer["shift"], answer["states"]) == ("06:00-14:00", {"Running": 300})
    assert answer["seconds"] == {"window": 28_800, "known": 300, "running": 300}


@pytest.mark.parametrize(
    ("noon", "following", "hours"),
    [
        ("2025-01-28T12:00", "2025-01-29T12:00", 8),
        ("2025-03-29T12:00", "2025-03-30T12:00", 7),
        ("2025-10-25T12:00", "2025-10-26T12:00", 9),
    ],
)
def test_a_shift_over_midnight_is_as_long_as_the_clocks_show(
    sqlite_api: Api, noon: str, following: str, hours: int
) -> None:
    night: dict[str, Any] = {
        "device_id": "a",
        "shift": "22:00-06:00",
        "tz": "Europe/Berlin",
        "from_": noon,
        "to": following,
    }
    assert sqlite_api.get(PATH, **night)["seconds"]["window"] == hours * 3600


def test_of_a_machine_that_nobody_knows_there_are_nulls(api: Api) -> None:
    answer = api.get(PATH, device_id="nobody", **MORNING)
    assert {name: answer[name] for name in ("availability", "performance", "quality", "oee", "coverage", "states")} == {
        "availability": None, "performance": None, "quality": None, "oee": None, "coverage": 0.0, "states": {},
    }  # fmt: skip


def test_a_machine_that_never_produced_has_an_oee_of_0(sqlite_api: Api) -> None:
    store(sqlite_api, said("06:00:00", "Stopped"), said("06:05:00", "Stopped"))
    answer = sqlite_api.get(PATH, device_id="C_FL001", **MORNING)
    assert (answer["availability"], answer["performance"], answer["oee"]) == (0, None, 0)


@pytest.mark.parametrize(
    ("states", "performance", "notes"),
    [
        (["Running", "Idle"], 80, []),
        (
            ["running", "Idle"],
            80,
            ['"running" is not counted as running, because oee.running has "Running"'],
        ),
        (
            ["Run", "Idle"],
            80,
            ['none of the states ("Idle", "Run") is among those of oee.running: "Running"'],
        ),
        (["Running"], 100, []),
        (["Running"], 100.5, ["performance_rate: some values are below 0 or above 100 percent"]),
        (["Running"], -1, ["performance_rate: some values are below 0 or above 100 percent"]),
        (["Running"], 0, []),
    ],
)
def test_it_notes_what_may_be_wrong(
    sqlite_api: Api, states: list[str], performance: float, notes: list[str]
) -> None:
    readings = [
        said(f"06:0{minute}:00", state, performance)
        for minute, state in enumerate([*states, "Idle"])
    ]
    store(sqlite_api, *readings)
    assert sqlite_api.get(PATH, device_id="C_FL001", **MORNING)["notes"] == notes


def test_more_readings_than_are_read_at_once_give_the_closed_form(api: Api) -> None:
    # A reading a second for 12,000 seconds, every fourth of them stopped.
    start = 1738130400  # 2025-01-29T06:00:00Z
    readings = [
        said("", "Stopped" if i % 4 == 3 else "Running", timestamp=start + i) for i in range(12_001)
    ]
    store(api, *readings[:6000])
    store(api, *readings[6000:])
    answer = api.get(PATH, device_id="C_FL001", from_=start, to=start + 12_000)
    assert (answer["availability"], answer["oee"], answer["coverage"]) == (75, 54, 100)
    assert answer["seconds"] == {"window": 12_000, "known": 12_000, "running": 9_000}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "device_id"),
        ({"device_id": "a", "tz": "Mars"}, "tz: there is no time zone"),
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
        ({"device_id": "a", "shift": "6-14"}, "shift: not hours of the day: '6-14'; expected"),
        ({"device_id": "a", "shift": "06:00-06:00"}, "such as 06:00-14:00"),
        ({"device_id": "a", "shift": ""}, "shift"),
    ],
)
def test_what_cannot_be_answered_is_400_and_says_why(
    refusing: Api, query: dict[str, Any], said: str
) -> None:
    assert said in refusing.get(PATH, expect=400, **query)["message"]


def test_only_streams_that_declare_it_have_it(sqlite_api: Api) -> None:
    sqlite_api.get("/api/sensors/oee", expect=404, device_id="a")
