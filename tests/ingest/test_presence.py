"""Presence: a device says that it is online, and its broker that it is gone; on real brokers and real wills."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

import queries.presence
from broker.message import Message
from config import Settings
from database import Database
from ingest.outcome import Applied
from ingest.presence import PresenceNotice, PresenceNotices
from tests.api import Api, reading, running
from tests.brokers import RealBroker, each_broker
from tests.devices import DeviceClient, board
from tests.parsing import RECEIVED as NOW
from tests.support import DEVICE_TOPICS, wait_for

Start = Callable[..., "subprocess.Popen[bytes]"]
COARSE = 7.0
"""Seconds; Mosquitto looks for silent clients every five."""


def notice(device_id: str, word: str) -> PresenceNotice:
    return PresenceNotice(device_id, Message("", b"", NOW), word == "online")


def announce(database: Database, *notices: PresenceNotice, second: float = 0) -> Applied:
    """Apply notices in one batch that is stored at a second."""
    with database.write() as connection, database.transaction(connection):
        return PresenceNotices(DEVICE_TOPICS.status).apply(
            connection, notices, NOW + timedelta(seconds=second)
        )


def known(database: Database, *device_ids: str) -> dict[str, tuple[bool, float]]:
    """By device: whether it is online, and since which second."""
    with database.read() as reader:
        rows = queries.presence.presence(reader, device_ids)
    return {
        row["device_id"]: (bool(row["online"]), (row["changed_at"] - NOW).total_seconds())
        for row in rows
    }


# What is stored


def test_the_last_notice_of_a_batch_counts_and_the_others_are_accounted_for(
    database: Database,
) -> None:
    applied = announce(
        database,
        notice("a", "online"),
        notice("b", "online"),
        notice("a", "online"),
        notice("a", "offline"),
        second=4,
    )
    assert (applied.stored, applied.duplicate, applied.rejections, applied.changes.devices) == (
        3,
        1,
        [],
        ["a", "b"],
    )
    assert known(database, "a", "b", "c") == {"a": (False, 4), "b": (True, 4)}


def test_a_repetition_does_not_change_since_when(database: Database) -> None:
    announce(database, notice("a", "online"), notice("same", "online"), second=1)
    again = announce(
        database, notice("a", "online"), notice("same", "online"), notice("A", "offline"), second=3
    )
    assert (again.stored, again.duplicate, again.changes.devices) == (1, 2, ["A"])
    announce(database, notice("a", "offline"), notice("new", "online"), second=5)
    expected = {"a": (False, 5), "A": (False, 3), "same": (True, 1), "new": (True, 5)}
    assert known(database, "a", "A", "same", "new") == expected


def test_1200_devices_may_go_at_once(database: Database) -> None:
    names = [f"d{number:04}" for number in range(1200)]
    announce(database, *[notice(name, "online") for name in names])
    gone = announce(database, *[notice(name, "offline") for name in names], second=1)
    assert (gone.stored, gone.changes.devices) == (1200, names)
    assert known(database, *names) == dict.fromkeys(names, (False, 1))


# What is shown


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a device as a process of its own, which is ended with the test."""
    with ExitStack() as boards:

        def started(*arguments: Any, **more: Any) -> "subprocess.Popen[bytes]":
            process = boards.enter_context(board(*arguments, **more))
            boards.callback(process.kill)
            return process

        yield started


@pytest.fixture
def api(settings: Callable[..., Settings], real_broker: RealBroker) -> Iterator[Api]:
    """The API while it ingests, with a reading of a device."""
    with running(settings(**real_broker.settings), start=True) as api:
        api.submit(reading("board"))
        wait_for(lambda: api.get("/api/health")["mqtt"]["subscribed"], what="the subscription")
        yield api


def online(api: Api) -> bool | None:
    (listed,) = api.get("/api/sensors/devices")["devices"]
    answer: bool | None = listed["online"]
    return answer


@each_broker
@pytest.mark.database
@pytest.mark.process
def test_a_device_is_online_or_offline_as_it_says_and_null_until_it_does(
    api: Api, real_broker: RealBroker
) -> None:
    assert online(api) is None
    device = DeviceClient(real_broker.port)
    device.publish("status/board", "online", retain=True)
    wait_for(lambda: online(api) is True, what="online")
    device.publish("status/board", '{"status": "offline"}', retain=True)
    wait_for(lambda: online(api) is False, what="offline")
    device.publish("status/board", '{"status":"online"}', retain=True)
    wait_for(lambda: online(api) is True, what="online again")
    device.publish("status/board", "on fire", retain=True)
    wait_for(lambda: api.get("/api/rejected")["data"], what="the rejection")
    assert online(api) is True
    device.close()


@each_broker
@pytest.mark.database
@pytest.mark.process
def test_a_device_that_is_killed_is_offline_at_once_and_online_when_it_is_back(
    api: Api, real_broker: RealBroker, start: Start
) -> None:
    first = start(real_broker.port, "board", offline='{"status": "offline"}')
    wait_for(lambda: online(api) is True, what="the first announcement")
    first.kill()
    wait_for(lambda: online(api) is False, seconds=3, what="its last will")
    start(real_broker.port, "board")
    wait_for(lambda: online(api) is True, what="the second announcement")


@each_broker
@pytest.mark.database
@pytest.mark.process
def test_a_device_that_falls_silent_is_offline_within_its_keep_alive(
    api: Api, real_broker: RealBroker, start: Start
) -> None:
    silent, alive = (
        start(real_broker.port, "board", keepalive=1),
        start(real_broker.port, "other", keepalive=1),
    )
    api.submit(reading("other"))

    def listed() -> list[bool | None]:
        return [item["online"] for item in api.get("/api/sensors/devices")["devices"]]

    wait_for(lambda: listed() == [True, True], what="the announcements")
    silent.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_for(lambda: listed() == [False, True], seconds=1.5 + COARSE, what="its last will")
    assert time.monotonic() - stopped > 0.5, "only its silence can have told"
    silent.send_signal(signal.SIGCONT)
    wait_for(lambda: listed() == [True, True], what="it to come back")
    assert alive.poll() is None


@each_broker
@pytest.mark.process
def test_what_happened_while_nothing_ingested_is_known_afterwards(
    settings: Callable[..., Settings], real_broker: RealBroker, start: Start
) -> None:
    """The announcements are retained, so that they are older than AutoForge without being lost."""
    early = start(real_broker.port, "board")
    device = DeviceClient(real_broker.port, "status/+")
    device.next()
    place = settings(**real_broker.settings)
    with running(place, start=True) as api:
        api.submit(reading("board"))
        wait_for(lambda: online(api) is True, what="the retained announcement")
    early.kill()
    assert device.next().payload == b"offline"
    with running(place, start=True) as api:
        wait_for(lambda: online(api) is False, what="the last will")
        health = api.get("/api/health")["mqtt"]
    assert (health["received"], health["rejected"]) == (health["stored"] + health["duplicate"], 0)
    device.close()
