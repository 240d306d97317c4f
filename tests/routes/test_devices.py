"""`/api/<stream>/devices`: who sends, since when, and whether it still lives; the same on every database."""

from datetime import timedelta

import pytest

from broker.message import Message
from ingest.presence import PresenceNotice, PresenceNotices
from tests.api import Api, reading
from tests.support import DEVICE_TOPICS
from utils import clock

KEYS = {"device_id", "first_seen", "last_seen", "last_heard", "silent_for", "online"}


def announce(api: Api, device_id: str, word: str) -> None:
    """What the ingest stores when a device, or its broker, says so."""
    database = api.app.extensions["autoforge"].database
    with database.write() as connection, database.transaction(connection):
        now = clock.now()
        notice = PresenceNotice(device_id, Message("", b"", now), word == "online")
        PresenceNotices(DEVICE_TOPICS.status).apply(connection, [notice], now)


def test_devices_are_listed_with_the_times_of_their_first_and_last_reading(api: Api) -> None:
    assert api.get("/api/sensors/devices")["devices"] == []
    api.submit(reading("b", 5), reading("a", 2), reading("a", 1), reading("a", 3))
    listed = api.get("/api/sensors/devices")["devices"]
    assert [
        (device["device_id"], device["first_seen"], device["last_seen"]) for device in listed
    ] == [
        ("a", "2026-01-29T12:00:01.000000Z", "2026-01-29T12:00:03.000000Z"),
        ("b", "2026-01-29T12:00:05.000000Z", "2026-01-29T12:00:05.000000Z"),
    ]


def test_none_of_1200_devices_is_missing_in_the_list(api: Api) -> None:
    names = {f"ESP32_{number:04d}" for number in range(1200)}
    api.submit(*[reading(name) for name in names])
    listed = api.get("/api/sensors/devices")["devices"]
    assert len(listed) == 1200
    assert {item["device_id"] for item in listed} == names


def test_a_device_is_online_or_offline_or_null_if_it_never_said(api: Api) -> None:
    api.submit(reading("said on"), reading("said off"), reading("silent"), reading("Said on"))
    announce(api, "said on", "online")
    announce(api, "said off", "online")
    announce(api, "said off", "offline")
    announce(api, "never sent a reading", "online")
    answer = api.get("/api/sensors/devices")
    assert all(device.keys() == KEYS for device in answer["devices"])
    found = {device["device_id"]: device["online"] for device in answer["devices"]}
    assert found == {"said on": True, "said off": False, "silent": None, "Said on": None}
    assert answer["count"] == 4


def test_a_device_is_silent_since_the_server_heard_it_whatever_its_own_clock_says(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, start = clock.now, clock.now()
    for name, behind in (("five hours behind", 5), ("right", 0), ("ahead", -0.05)):
        api.submit(reading(name, timestamp=(start - timedelta(hours=behind)).isoformat()))
    monkeypatch.setattr(clock, "now", lambda: right() + timedelta(seconds=90))
    again = api.post("/api/sensors/readings", reading("right", timestamp=start.isoformat()))
    assert again["duplicate"] == 1
    devices = {device["device_id"]: device for device in api.get("/api/sensors/devices")["devices"]}
    passed = (right() - start).total_seconds()
    assert 90 <= devices["five hours behind"]["silent_for"] <= 90 + passed
    assert 90 <= devices["ahead"]["silent_for"] <= 90 + passed
    assert devices["right"]["silent_for"] <= passed
    assert clock.parse(devices["five hours behind"]["last_seen"]) == start - timedelta(hours=5)
    assert clock.parse(devices["five hours behind"]["last_heard"]) >= start


@pytest.mark.parametrize(
    ("back", "silent_for"),
    [(timedelta(seconds=1), 0), (timedelta(minutes=1), None), (timedelta(days=365), None)],
)
def test_a_device_that_fell_silent_before_the_clock_was_set_back_does_not_look_heard_just_now(
    api: Api, monkeypatch: pytest.MonkeyPatch, back: timedelta, silent_for: float | None
) -> None:
    start, step = clock.now(), timedelta(0)
    monkeypatch.setattr(clock, "now", lambda: start + step)
    api.submit(reading("a"))
    step = -back
    (device,) = api.get("/api/sensors/devices")["devices"]
    assert device["silent_for"] == silent_for
    api.submit(reading("a", 1))
    (device,) = api.get("/api/sensors/devices")["devices"]
    assert 0 <= device["silent_for"] < 2
