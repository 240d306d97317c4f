"""Retained messages, which a broker sends to each new subscriber, and the empty ones that clear them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

import queries.ingest_status
import queries.readings
from broker.message import Message
from config import Settings
from database import Database
from ingest.outcome import Outcome
from streams.registry import Streams
from tests.api import Api, running
from tests.brokers import RealBroker, each_broker
from tests.pipelines import new_pipeline
from tests.support import payload, publishing, wait_for
from utils import clock

Handle = Callable[[Message], Outcome]
UNDATED, DATED = "panel/old/volt", "sensors/old/data"


def message(topic: str, text: str = "", retained: bool = True) -> Message:
    return Message(topic, text.encode(), clock.now(), packet_id=1, retained=retained)


@pytest.fixture
def handle(database: Database, streams: Streams) -> Iterator[Handle]:
    connection: Connection
    with database.write() as connection:
        pipeline = new_pipeline(database, streams)
        yield lambda told: pipeline.handle(connection, [told])


def fate(outcome: Outcome) -> str:
    counted = {
        "stored": outcome.stored,
        "duplicate": outcome.duplicate,
        "rejected": len(outcome.rejections),
        "ignored": len(outcome.ignored),
    }
    (name,) = (name for name, count in counted.items() if count)
    return f"{name}: {outcome.ignored[0].reason}" if outcome.ignored else name


@pytest.mark.parametrize(
    ("told", "becomes"),
    [
        pytest.param(message(UNDATED, "230"), "ignored: retained", id="no time"),
        pytest.param(
            message(UNDATED, '{"value": 230, "timestamp": 7}'),
            "ignored: retained",
            id="a time of 1970",
        ),
        pytest.param(message(DATED, payload()), "stored", id="a time of its own"),
        pytest.param(message(DATED, payload(gas=None)), "ignored: retained", id="a fault"),
        pytest.param(
            message("panel/old/nothing", "1"), "ignored: retained", id="a topic of no stream"
        ),
        pytest.param(
            message("control/old/ack", '{"command_id": "x", "status": "failed"}'),
            "ignored: retained",
        ),
        pytest.param(message("status/old", "online"), "stored", id="presence"),
        pytest.param(message(UNDATED, retained=False), "ignored: empty", id="empty, no time"),
        pytest.param(message(DATED, retained=False), "ignored: empty", id="empty"),
        pytest.param(
            message("control/old/ack", retained=False), "ignored: empty", id="empty acknowledgement"
        ),
        pytest.param(
            message("nobody/old", retained=False),
            "ignored: empty",
            id="empty, a topic of no stream",
        ),
        pytest.param(message(DATED, " ", retained=False), "rejected", id="white space"),
    ],
)
def test_what_becomes_of_a_message_that_is_repeated_or_empty(
    handle: Handle, told: Message, becomes: str
) -> None:
    assert fate(handle(told)) == becomes


def test_a_reading_with_its_own_time_is_stored_once_and_its_device_is_not_heard(
    handle: Handle, database: Database
) -> None:
    assert [fate(handle(message(DATED, payload()))) for _ in range(3)] == [
        "stored",
        "duplicate",
        "duplicate",
    ]
    assert _last_heard(database) is None
    live = message(DATED, payload(), retained=False)
    assert fate(handle(live)) == "duplicate"
    assert _last_heard(database) == live.received_at
    handle(message(DATED, payload()))
    assert _last_heard(database) == live.received_at


def _last_heard(database: Database) -> Any:
    with database.read() as reader:
        (device,) = queries.readings.devices(reader, "sensors", database.tables["sensors"])
    return device["last_heard"]


def test_every_message_is_counted_once_by_what_became_of_it(
    handle: Handle, database: Database
) -> None:
    for told in (
        message(UNDATED, "1"),
        message(UNDATED),
        message(UNDATED, "2", retained=False),
        message(UNDATED, "x", retained=False),
    ):
        handle(told)
    with database.read() as reader:
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
        reasons = queries.ingest_status.ignored_counts(reader, "mqtt")
    assert (status.received, status.stored, status.rejected, status.ignored) == (4, 1, 1, 2)
    assert reasons == {"retained": 1, "empty": 1}


def test_clearing_a_presence_makes_it_unknown(handle: Handle, database: Database) -> None:
    handle(message(DATED, payload(), retained=False))
    becomes = []
    for text in ("online", "", "", "offline", ""):
        handle(message("status/old", text, retained=False))
        with database.read() as reader:
            (device,) = queries.readings.devices(reader, "sensors", database.tables["sensors"])
        becomes.append(device["online"])
    assert becomes == [True, None, None, False, None]


@each_broker
@pytest.mark.process
def test_no_restart_makes_a_new_reading_of_a_retained_message(
    settings: Callable[..., Settings], real_broker: RealBroker
) -> None:
    with publishing(real_broker.port) as publish:
        publish(UNDATED, "777", retain=True)
        publish(DATED, payload(), retain=True)
        publish("panel/old/power", "no number", retain=True)
        publish("status/old", "online", retain=True)
    place = settings(**real_broker.settings)
    for times in (1, 2, 3):
        with running(place, start=True) as api:
            wait_for(partial(_has_ignored, api, 2 * times), what="the repeated messages")
    with running(place, start=True) as api:
        wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
        assert api.get("/api/health")["mqtt"]["rejected"] == 0
        assert api.get("/api/panels/history")["count"] == 0
        (device,) = api.get("/api/sensors/devices")["devices"]
        assert (device["last_heard"], device["silent_for"], device["online"]) == (None, None, True)
        assert api.get("/api/sensors/history")["count"] == 1


def _has_ignored(api: Api, count: int) -> bool:
    return bool(api.get("/api/health")["mqtt"].get("ignored") == count)
