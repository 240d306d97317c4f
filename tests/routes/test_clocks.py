"""`/api/<stream>/clocks`: whose times are wrong, and what would mend them; the same on every database."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import Api, reading, running
from tests.support import Clock
from utils import clock

HOUR = 3600.0
MIXED = """
topic = "mixed/{device_id}"
rest = "keep"
[metrics]
n = {}
t = { type = "text" }
b = { type = "boolean" }
i = { type = "integer" }
never = {}
"""


@pytest.fixture
def mixed(settings: Callable[..., Settings], database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API with a stream of metrics of every type, whose readings need no time."""
    (tmp_path / "mixed.toml").write_text(MIXED)
    with running(settings(database_url=database_url, streams_dir=tmp_path)) as made:
        yield made


def send(api: Api, hands: Clock, device_id: str, offsets: list[Any], every: float = 60) -> None:
    """Store readings at intervals; a number is the device's time minus the server's, a text the time itself."""
    for number, offset in enumerate(offsets):
        hands.ahead += timedelta(seconds=every)
        stated = offset
        if isinstance(offset, float):
            stated = (clock.now() + timedelta(seconds=offset)).isoformat()
        api.submit(reading(device_id, temperature=number, timestamp=stated))


def looks(api: Api, **query: Any) -> dict[str, str]:
    answer = api.get("/api/sensors/clocks", **query)
    return {item["device_id"]: item["looks_like"] for item in answer["data"]}


@pytest.mark.parametrize(
    ("offsets", "expected", "offset_seconds"),
    [
        ([0.0] * 3, "right", 0),
        ([2 * HOUR] * 3, "zone", 2 * HOUR),
        ([-5 * HOUR] * 3, "zone", -5 * HOUR),
        ([5.75 * HOUR], "zone", 5.75 * HOUR),
        (["1970-01-01T00:00:07Z", "1970-01-01T00:01:07Z"], "not_set", None),
        ([12, 72.5, "132.5"], "not_set", None),
        (["2026-01-29", "2026-01-29"], "not_set", None),
        (["2106-02-07T06:28:15Z"], "not_set", None),
        ([7, 67, 0.0], "right", 0),
        ([600.0] * 3, "drifting", 600),
        (["1970-01-01T00:00:07Z", 0.0] * 3, "jumping", 0),
        ([0.0] * 60 + [-5 * HOUR] * 30, "zone", -5 * HOUR),
        ([0.0] * 3 + [-2000 * HOUR] * 3, "drifting", -2000 * HOUR),
    ],
)
def test_a_clock_looks_like(
    api: Api, hands: Clock, offsets: list[Any], expected: str, offset_seconds: float | None
) -> None:
    send(api, hands, "a", offsets)
    (found,) = api.get("/api/sensors/clocks")["data"]
    assert (found["device_id"], found["looks_like"]) == ("a", expected)
    assert found["offset_seconds"] == (
        None if offset_seconds is None else pytest.approx(offset_seconds, abs=5)
    )
    assert (found["advice"] is None) is (expected == "right")


def test_a_device_is_not_listed_if_all_its_messages_came_late(api: Api, hands: Clock) -> None:
    send(api, hands, "late", [-5 * HOUR])
    start = clock.now() - timedelta(days=100)
    hourly = [(start + timedelta(hours=number)).isoformat() for number in range(60)]
    api.submit(*[reading("import", timestamp=stated) for stated in hourly])
    assert len(api.get("/api/sensors/devices")["devices"]) == 2
    assert looks(api) == {}


def test_a_reading_without_a_time_tells_nothing_whatever_values_it_has(mixed: Api) -> None:
    """The key of a dated reading follows from its values; an undated one has that of its delivery."""
    ahead = (clock.now() + timedelta(hours=2)).isoformat()
    of_any_type: list[dict[str, Any]] = [
        {"n": 24.5},
        {"n": -0.0, "t": "é "},
        {"b": True},
        {"i": 2**62 + 1},
        {"i": 7, "b": False, "of no metric": 1.5},
    ]
    for number, values in enumerate(of_any_type):
        right = {"timestamp": clock.now().isoformat()}
        for device_id, stated in (
            ("dated", right),
            ("undated", {}),
            ("empty", {"timestamp": ""}),
            ("unread", {"timestamp": "soon"}),
            ("now and then", {"timestamp": ahead} if number == 2 else {}),
        ):
            payload = {"device_id": device_id} | values | stated
            assert mixed.post("/api/mixed/readings", payload)["stored"] == 1
    listed = mixed.get("/api/mixed/clocks")["data"]
    assert {item["device_id"]: item["looks_like"] for item in listed} == {
        "dated": "right",
        "now and then": "zone",
        "unread": "not_set",
    }


def test_devices_are_listed_in_pages_or_one_alone(api: Api, hands: Clock) -> None:
    for name in ("c", "a", "b", "autoforge-verify"):
        send(api, hands, name, [0.0])
    assert list(looks(api)) == ["a", "b", "c"]
    assert list(looks(api, limit=2)) == ["a", "b"]
    assert list(looks(api, limit=2, offset=2)) == ["c"]
    assert list(looks(api, device_id="b")) == ["b"]
    assert list(looks(api, device_id="autoforge-verify")) == ["autoforge-verify"]
    assert looks(api, device_id="nobody") == {}
    answer = api.get("/api/sensors/clocks", device_id="b", limit=5)
    assert {name: value for name, value in answer.items() if name != "data"} == {
        "count": 1,
        "limit": 5,
        "offset": 0,
        "device_id": "b",
    }
    api.get("/api/sensors/clocks", expect=400, limit=1001)
