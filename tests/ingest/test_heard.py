"""When a device was heard last: by the order in which the server received, unless its clock was set."""

from datetime import timedelta

import pytest

import queries.readings
from broker.message import Message
from database import Database
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import Clock, payload
from utils import clock

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("first", "second", "heard"),
    [
        # Each: how far the clock is off, and how long ago the reading was received by that clock.
        pytest.param((0, 0), (0, 0), "second", id="one after the other"),
        pytest.param((0, 0), (0, 60), "first", id="what has waited comes after a newer one"),
        pytest.param((0, 60), (0, 30), "second", id="both have waited"),
        pytest.param((0, 30), (0, 60), "first", id="both have waited, the later one longer"),
        pytest.param((3600, 0), (0, 0), "second", id="the clock was set back"),
        pytest.param((0, 0), (0, -3600), "now", id="the clock was set back while it waited"),
        pytest.param((-3600, 0), (0, 0), "second", id="the clock was set ahead"),
    ],
)
def test_a_device_was_heard_when_its_last_reading_was_received(
    database: Database,
    streams: Streams,
    hands: Clock,
    first: tuple[int, int],
    second: tuple[int, int],
    heard: str,
) -> None:
    received = {}
    for name, (off, ago) in (("first", first), ("second", second)):
        hands.ahead = off * SECOND
        received[name] = clock.now() - ago * SECOND
        told = Message("sensors/a/data", payload(gas=len(received)).encode(), received[name])
        with database.write() as connection:
            assert new_pipeline(database, streams, "http").handle(connection, [told]).stored == 1
    with database.read() as reader:
        (device,) = queries.readings.devices(reader, "sensors", database.tables["sensors"])
    assert abs(device["last_heard"] - (received | {"now": clock.now()})[heard]) < 10 * SECOND


def test_a_device_of_which_only_repeated_messages_came_is_not_heard_by_one_that_waited(
    database: Database, streams: Streams
) -> None:
    ago = clock.now() - HOUR
    heard = []
    for gas, retained in ((1, True), (2, False), (3, True)):
        told = Message(
            "sensors/a/data", payload(gas=gas).encode(), ago, packet_id=gas, retained=retained
        )
        with database.write() as connection:
            assert new_pipeline(database, streams).handle(connection, [told]).stored == 1
        with database.read() as reader:
            (device,) = queries.readings.devices(reader, "sensors", database.tables["sensors"])
        heard.append(device["last_heard"])
    assert heard == [None, ago, ago]
