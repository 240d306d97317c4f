"""Readings stamped while the server's clock was ahead are not the newest once it is right; on every database."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from device_models import NewestValue
from tests.api import Api, reading
from tests.support import Clock
from utils import clock

AHEAD = [timedelta(minutes=6), timedelta(days=365)]
UNDATED = "1970-01-01T00:00:00"
"""A time of a device that is not believed, so that the reading gets the server's."""
Ask = Callable[[Api], Any]


def store(api: Api, value: float, device: str = "a") -> None:
    """Store a reading with this value and no usable time in each of three streams."""
    api.submit(reading(device, temperature=value, timestamp=UNDATED))
    machine = {
        "machine_id": device,
        "machine_status": "Running",
        "performance_rate": value,
        "quality_rate": 90,
    }
    api.post("/api/machines/readings", machine)
    for metric in ("voltage", "power"):
        api.post("/api/panels/readings", {"value": value}, device_id=device, metric=metric)


def panel(api: Api, **query: Any) -> tuple[float, float, bool]:
    """Two values of a panel, and whether one is shown with a time that is still to come."""
    found = api.get("/api/panels/latest", **query)["data"]
    times = [clock.parse(found["times"][metric]) for metric in ("voltage", "power")] + [
        clock.parse(found["timestamp"])
    ]
    return found["voltage"], found["power"], max(times) > clock.now()


ASKED: dict[str, Ask] = {
    "latest of a device": lambda api: api.get("/api/sensors/latest", device_id="a")["data"][
        "temperature"
    ],
    "latest of all": lambda api: api.get("/api/sensors/latest")["data"]["temperature"],
    "latest of a machine": lambda api: api.get("/api/sensor/latest", device_id="a")["data"][
        "performance_rate"
    ],
    "latest of all machines": lambda api: api.get("/api/sensor/latest")["data"]["performance_rate"],
    "last values": lambda api: api.get("/api/mqtt/last-values")["voltage"],
    "last values of a panel": lambda api: api.get("/api/mqtt/last-values", device_id="a")["power"],
    "last value of a topic": lambda api: api.get("/api/mqtt/last-value/panel/a/volt")["value"],
    "last message": lambda api: api.get("/api/mqtt/status")["lastMessage"]["value"],
}


@pytest.mark.parametrize("step", AHEAD, ids=str)
def test_what_comes_after_the_clock_was_set_back_is_the_newest_at_once(
    api: Api, hands: Clock, step: timedelta
) -> None:
    hands.ahead = step
    store(api, 1)
    store(api, 2)
    assert {name: ask(api) for name, ask in ASKED.items()} == dict.fromkeys(ASKED, 2)
    assert panel(api, device_id="a") == panel(api) == (2, 2, False)
    hands.ahead = timedelta(0)
    # There is nothing else yet, so that it is shown all the same.
    assert {name: ask(api) for name, ask in ASKED.items()} == dict.fromkeys(ASKED, 2)
    assert panel(api, device_id="a") == panel(api) == (2, 2, True)
    store(api, 3)
    store(api, 4)
    assert {name: ask(api) for name, ask in ASKED.items()} == dict.fromkeys(ASKED, 4)
    assert panel(api, device_id="a") == panel(api) == (4, 4, False)
    assert clock.parse(api.get("/api/mqtt/last-values")["timestamp"]) <= clock.now()
    (device,) = api.get("/api/sensors/devices")["devices"]
    assert clock.parse(device["last_seen"]) <= clock.now()
    assert [row["temperature"] for row in api.get("/api/sensors/history")["data"]] == [2, 1, 4, 3]
    assert api.get("/api/sensors/stats")["stats"]["count"] == 4


def test_what_was_stored_before_the_clock_went_ahead_is_the_newest_again(
    api: Api, hands: Clock
) -> None:
    store(api, 1)
    hands.ahead = timedelta(hours=1)
    store(api, 2)
    api.post("/api/panels/readings", {"value": 7}, device_id="a", metric="ampere")
    hands.ahead = timedelta(0)
    assert {
        name: ask(api) for name, ask in ASKED.items() if name != "last message"
    } == dict.fromkeys([name for name in ASKED if name != "last message"], 1)
    assert panel(api, device_id="a") == (1, 1, False)
    assert api.get("/api/panels/latest", device_id="a")["data"]["ampere"] == 7
    values = api.get("/api/mqtt/last-values")
    assert (values["ampere"], clock.parse(values["timestamp"]) <= clock.now()) == (7, True)


def test_a_time_that_a_device_may_be_ahead_is_not_from_the_future(api: Api, hands: Clock) -> None:
    hands.ahead = clock.MAX_AHEAD - timedelta(seconds=30)
    store(api, 1)
    hands.ahead = timedelta(0)
    store(api, 2)
    assert {name: ask(api) for name, ask in ASKED.items()} == dict.fromkeys(ASKED, 1)


def test_exactly_that_far_ahead_is_believed_and_a_microsecond_more_is_not(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = clock.now().replace(microsecond=0)
    store(sqlite_api, 1)
    monkeypatch.setattr(clock, "now", lambda: noon)
    at = (noon + clock.MAX_AHEAD).isoformat()
    sqlite_api.submit(reading("a", temperature=2, timestamp=at))
    assert ASKED["latest of a device"](sqlite_api) == 2
    monkeypatch.setattr(clock, "now", lambda: noon - clock.MICROSECOND)
    assert ASKED["latest of a device"](sqlite_api) == 1


def test_the_panel_heard_last_is_not_one_that_was_heard_while_the_clock_was_ahead(
    api: Api, hands: Clock
) -> None:
    hands.ahead = timedelta(minutes=6)
    store(api, 1, "before")
    hands.ahead = timedelta(0)
    assert api.get("/api/panels/latest")["data"]["device_id"] == "before"
    for device in ("b", "c", "b"):
        store(api, 2, device)
        assert api.get("/api/panels/latest")["data"]["device_id"] == device
        assert api.get("/api/sensors/latest")["data"]["device_id"] == device


def test_newest_values_of_the_future_are_given_up_when_the_next_ones_are_stored(
    api: Api, hands: Clock
) -> None:
    hands.ahead = timedelta(hours=1)
    store(api, 1)
    hands.ahead = timedelta(0)
    store(api, 2)
    with api.app.extensions["autoforge"].database.read() as reader:
        kept = reader.scalars(
            select(NewestValue.timestamp).where(NewestValue.stream == "panels")
        ).all()
    assert len(kept) == 2
    assert max(kept) <= clock.now()


def test_of_readings_that_are_all_from_the_future_the_newest_is_kept(
    api: Api, hands: Clock
) -> None:
    for value, hours in ((1, 2), (2, 1)):
        hands.ahead = timedelta(hours=hours)
        store(api, value)
    hands.ahead = timedelta(0)
    assert {name: ask(api) for name, ask in ASKED.items()} == dict.fromkeys(ASKED, 1)
    assert panel(api, device_id="a") == (1, 1, True)
