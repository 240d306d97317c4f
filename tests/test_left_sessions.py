"""Another client id than before: every session that may keep messages is named, and none is emptied for nothing."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update

from config import Settings
from database import Database
from ingest.ending import Place, end_session
from ingest.pipeline import Pipeline
from ingest.redelivery import Unrecorded
from models import Installation
from mqtt_sessions import MARKERS, end
from streams.registry import Streams
from tests.support import Mosquitto, connected_client, ignore, wait_for
from tests.test_handover import (
    OLD,
    all_stored_once,
    ingesting,
    installation,
    is_through,
    leave_waiting,
    session_is_there,
)


@pytest.fixture
def upgraded(sqlite: Database) -> Database:
    """A database whose client id was served before."""
    note(sqlite, retired_client_id=OLD)
    return sqlite


@pytest.fixture
def place(settings: Callable[..., Settings], mosquitto: Mosquitto) -> Settings:
    return settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)


def note(database: Database, **values: str | None) -> None:
    with database.connection() as connection, database.transaction(connection):
        connection.execute(update(Installation).values(**values))


def is_used(database: Database, client_id: str) -> bool:
    return installation(database).session_client_id == client_id


def test_where_mqtt_client_id_is_set_at_the_upgrade_the_session_of_before_is_named_once(
    place: Settings, mosquitto: Mosquitto, upgraded: Database, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    own = place.model_copy(update={"mqtt_client_id": "foo"})
    for _ in range(2):
        with ingesting(own, upgraded, streams):
            wait_for(lambda: is_used(upgraded, "foo"), what="the subscription")
    assert caplog.text.count(f"`flask end-session {OLD}`") == 1
    assert installation(upgraded).retired_client_id is None
    end_session(own, streams, Place(upgraded, Pipeline(upgraded, streams, "mqtt", ignore, recent=Unrecorded())), OLD)
    all_stored_once(upgraded, numbers)


def test_where_mqtt_client_id_is_removed_after_the_upgrade_its_session_is_named(
    place: Settings, upgraded: Database, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    note(upgraded, session_client_id="foo", session_broker=str(place.broker))
    with ingesting(place, upgraded, streams):
        wait_for(lambda: is_through(upgraded), what="the handover")
    assert caplog.text.count("`flask end-session foo`") == 1


def test_mqtt_client_id_may_keep_the_client_id_of_before(
    place: Settings, mosquitto: Mosquitto, upgraded: Database, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    note(upgraded, handover="-")
    with ingesting(place.model_copy(update={"mqtt_client_id": OLD}), upgraded, streams):
        all_stored_once(upgraded, numbers)
    assert (installation(upgraded).retired_client_id, installation(upgraded).handover) == (OLD, None)
    with ingesting(place, upgraded, streams):
        wait_for(lambda: is_through(upgraded), what="the handover")
    assert "end-session" not in caplog.text


def test_a_session_that_is_emptied_already_is_ended_where_mqtt_client_id_is_set(
    place: Settings, mosquitto: Mosquitto, upgraded: Database, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    leave_waiting(mosquitto.port, itertools.count())
    note(upgraded, handover="-", session_client_id=installation(upgraded).client_id)
    with ingesting(place.model_copy(update={"mqtt_client_id": "foo"}), upgraded, streams):
        wait_for(lambda: installation(upgraded).retired_client_id is None, what="the end of the old session")
    assert not session_is_there(mosquitto.port, OLD)
    assert OLD not in caplog.text
    assert f"`flask end-session {installation(upgraded).client_id}`" in caplog.text


@contextlib.contextmanager
def markers(port: int) -> Iterator[list[str]]:
    """What is published as markers meanwhile."""
    watcher, heard, granted = connected_client(port), list[str](), threading.Event()
    watcher.on_message = lambda *arguments: heard.append(arguments[2].payload.decode())
    watcher.on_subscribe = lambda *_: granted.set()
    watcher.subscribe(MARKERS, 1)
    assert granted.wait(10)
    yield heard
    watcher.disconnect()
    watcher.loop_stop()


def test_each_new_session_has_a_marker_that_nobody_could_know(
    place: Settings, mosquitto: Mosquitto, sqlite: Database, streams: Streams
) -> None:
    own = place.model_copy(update={"mqtt_client_id": "foo"})
    with markers(mosquitto.port) as heard:
        for _ in range(2):
            with ingesting(own, sqlite, streams):
                wait_for(lambda: is_used(sqlite, "foo"), what="the subscription")
                wait_for(lambda: heard == [installation(sqlite).session_token], what="the only marker")
        end(own, "foo")
        with ingesting(own, sqlite, streams):
            wait_for(lambda: heard[1:] == [installation(sqlite).session_token], what="another marker")
    assert len({*heard}) == 2
