"""Another client id than before: every session that may keep messages is named, and none is emptied for nothing."""

import contextlib
import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from broker.sessions import MARKERS, end
from broker.waiter import Waiter
from config import Settings
from database import Database
from ingest.ending import Target, end_session
from ingest.ingester import Ingester
from ingest.known_session import Known, to_bring_back, warn_of_left_sessions
from ingest.redelivery import Unrecorded
from ingest.sessions import SessionMemory
from models import Installation
from streams.registry import Streams
from tests.handover import (
    OLD,
    all_stored_once,
    ingesting,
    installation,
    is_through,
    leave_waiting,
    session_is_there,
)
from tests.pipelines import new_pipeline
from tests.support import Mosquitto, connected_client, prepared_database, wait_for


@pytest.fixture
def upgraded(sqlite: Database) -> Database:
    """A database with a client id that was served before."""
    note(sqlite, retired_client_id=OLD)
    return sqlite


@pytest.fixture
def place(settings: Callable[..., Settings], mosquitto: Mosquitto) -> Settings:
    return settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)


def note(database: Database, **values: str | None) -> None:
    with database.write() as connection, database.transaction(connection):
        connection.execute(update(Installation).values(**values))


def is_used(database: Database, client_id: str) -> bool:
    return installation(database).session_client_id == client_id


def test_where_mqtt_client_id_is_set_at_the_upgrade_the_session_of_before_is_named_once(
    place: Settings,
    mosquitto: Mosquitto,
    upgraded: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    own = place.model_copy(update={"mqtt_client_id": "foo"})
    for _ in range(2):
        with ingesting(own, upgraded, streams):
            wait_for(lambda: is_used(upgraded, "foo"), what="the subscription")
    assert caplog.text.count(f"`flask end-session {OLD}`") == 1
    assert installation(upgraded).retired_client_id is None
    end_session(
        own, streams, Target(upgraded, new_pipeline(upgraded, streams, recent=Unrecorded())), OLD
    )
    all_stored_once(upgraded, numbers)


def test_where_mqtt_client_id_is_removed_after_the_upgrade_its_session_is_named(
    place: Settings, upgraded: Database, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    note(upgraded, session_client_id="foo", session_broker=str(place.broker))
    with ingesting(place, upgraded, streams):
        wait_for(lambda: is_through(upgraded), what="the handover")
    assert caplog.text.count("`flask end-session foo`") == 1


@pytest.mark.parametrize(
    ("client_id", "argument"),
    [
        ("foo", "foo"),
        ("a b", "'a b'"),
        ("it's", """'it'"'"'s'"""),
        ("$(reboot)", "'$(reboot)'"),
        ("-v", "-- -v"),
        ("--a b", "-- '--a b'"),
    ],
)
def test_the_command_that_is_advised_can_be_typed_as_it_stands(
    client_id: str, argument: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_left_sessions([client_id], None, "mqtt://h:1883")
    assert f"in the session {client_id}. `flask end-session {argument}` stores" in caplog.text


def test_mqtt_client_id_may_keep_the_client_id_of_before(
    place: Settings,
    mosquitto: Mosquitto,
    upgraded: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    note(upgraded, handover="-")
    with ingesting(place.model_copy(update={"mqtt_client_id": OLD}), upgraded, streams):
        all_stored_once(upgraded, numbers)
    assert (installation(upgraded).retired_client_id, installation(upgraded).handover) == (
        OLD,
        None,
    )
    with ingesting(place, upgraded, streams):
        wait_for(lambda: is_through(upgraded), what="the handover")
    assert "end-session" not in caplog.text


def test_a_session_that_is_emptied_already_is_ended_where_mqtt_client_id_is_set(
    place: Settings,
    mosquitto: Mosquitto,
    upgraded: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leave_waiting(mosquitto.port, itertools.count())
    note(upgraded, handover="-", session_client_id=installation(upgraded).client_id)
    with ingesting(place.model_copy(update={"mqtt_client_id": "foo"}), upgraded, streams):
        wait_for(
            lambda: installation(upgraded).retired_client_id is None,
            what="the end of the old session",
        )
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
                wait_for(
                    lambda: heard == [installation(sqlite).session_token], what="the only marker"
                )
        end(own, "foo")
        with ingesting(own, sqlite, streams):
            wait_for(
                lambda: heard[1:] == [installation(sqlite).session_token], what="another marker"
            )
    assert len({*heard}) == 2


@contextlib.contextmanager
def using(place: Settings, database: Database, streams: Streams) -> Iterator[str]:
    """An ingester with a session that the database knows; the client id."""
    with ingesting(place, database, streams):
        wait_for(
            lambda: is_used(database, installation(database).client_id), what="the subscription"
        )
        yield installation(database).client_id


def in_file(file: Path) -> Known:
    """What the file that has the name says, as another program reads it."""
    columns = ", ".join(Known._fields)
    with (
        contextlib.suppress(sqlite3.Error),  # for a moment there is no file, or no table in it
        contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db,
    ):
        return Known(*(db.execute(f"SELECT {columns} FROM installation").fetchone() or [""]))
    return Known("")


def test_a_database_file_that_is_made_anew_knows_the_session_in_use(
    place: Settings,
    sqlite: Database,
    streams: Streams,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "test.db"
    with using(place, sqlite, streams):
        before = in_file(file)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        wait_for(lambda: in_file(file) == before, what="the session in the new file")
    assert before.is_used
    assert before.session_token is not None
    assert "client id" not in caplog.text


def test_a_restored_database_with_another_client_id_is_told_and_knows_the_session_in_use(
    place: Settings,
    sqlite: Database,
    streams: Streams,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    restored = tmp_path / "restored.db"
    with prepared_database(f"sqlite:///{restored}", streams) as other:
        note(other, client_id="another", session_client_id="a-third", retired_client_id=OLD)
    file = tmp_path / "test.db"
    with using(place, sqlite, streams) as client_id:
        for suffix in ("-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        restored.replace(file)
        there = ("another", OLD, None, client_id)
        wait_for(lambda: in_file(file)[:4] == there, what="the session in the restored file")
    assert "now has another client id" in caplog.text
    assert "`flask end-session a-third`" in caplog.text
    with ingesting(place, sqlite, streams):
        wait_for(
            lambda: f"`flask end-session {client_id}`" in caplog.text, what="the session of before"
        )


def test_an_older_backup_does_not_begin_the_handover_anew() -> None:
    used = Known("new", None, "-", "new", "b", '["t/#"]')
    assert (
        to_bring_back(used, Known("new", OLD)).items()
        >= {"retired_client_id": None, "handover": "-"}.items()
    )
    begun = Known("new", OLD)
    assert "handover" not in to_bring_back(begun, used), "another process has made it meanwhile"
    assert not {"retired_client_id", "handover"} & {*to_bring_back(used, Known("another", OLD))}
    filters = to_bring_back(used, Known("new", None, "-", "new", "b", '["u/#"]'))["session_filters"]
    assert json.loads(filters) == ["t/#", "u/#"]


def test_an_ingester_that_is_stopped_before_it_connects_leaves_no_socket(
    place: Settings, sqlite: Database, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, closed = Waiter.close, threading.Event()
    ingester = Ingester(place, sqlite, streams, new_pipeline(sqlite, streams))

    def stop_early(*_: object) -> list[str]:
        ingester.request_stop()
        return []

    def close(waiter: Waiter) -> None:
        usual(waiter)
        closed.set()

    monkeypatch.setattr(SessionMemory, "subscribing", stop_early)
    monkeypatch.setattr(Waiter, "close", close)
    ingester.start()
    assert closed.wait(10)
    ingester.stop()
