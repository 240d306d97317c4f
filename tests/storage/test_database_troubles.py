"""A database that cannot be written: what health and log say, and that ingestion continues by itself."""

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pymysql
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import queries.installation
from config import Settings
from database import Database, Unavailable
from ingest.ingester import Ingester
from ingest.process_heartbeat import ProcessHeartbeat
from services import status
from storage.dialects import dialect_of
from streams.registry import Streams
from tests.api import running
from tests.pipelines import new_pipeline
from tests.support import Mosquitto, payload, publishing, wait_for

pytestmark = pytest.mark.long


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("as the driver says")
    error.sqlite_errorname = name
    return error


def postgres_error(code: str, message: str = "as the driver says") -> psycopg2.Error:
    """An error with its code, which otherwise only the driver can set."""
    return type("Coded", (psycopg2.OperationalError,), {"pgcode": code})(message)  # type: ignore[no-any-return]  # made here


POSTGRES, MYSQL, SQLITE = (
    "postgresql+psycopg2://u@h/d",
    "mysql+pymysql://u@h/d",
    "sqlite:////tmp/x.db",
)
SENTENCES = [
    (SQLITE, sqlite_error("SQLITE_FULL"), "the disk is full"),
    (SQLITE, sqlite_error("SQLITE_READONLY"), "it takes no writes: it is read-only"),
    (SQLITE, sqlite_error("SQLITE_READONLY_DIRECTORY"), "it takes no writes: it is read-only"),
    (SQLITE, sqlite_error("SQLITE_BUSY"), "another process has locked it"),
    (SQLITE, sqlite_error("SQLITE_IOERR_WRITE"), "its disk cannot be read or written"),
    (SQLITE, sqlite_error("SQLITE_CORRUPT"), "its file is damaged: put a backup in its place"),
    (
        SQLITE,
        sqlite_error("SQLITE_CANTOPEN"),
        "/tmp/x.db cannot be opened: its folder must be there, and may be",
    ),
    (POSTGRES, postgres_error("53100"), "the disk is full"),
    (POSTGRES, postgres_error("25006"), "it takes no writes: it is read-only"),
    (POSTGRES, postgres_error("53300"), "it has too many connections already"),
    (
        POSTGRES,
        postgres_error("", "FATAL:  sorry, too many clients already"),
        "it has too many connections already",
    ),
    (POSTGRES, postgres_error("53200"), "it is out of memory"),
    (POSTGRES, postgres_error("55P03"), "another process has locked it"),
    (POSTGRES, postgres_error("42601"), "as the driver says"),
    (MYSQL, pymysql.err.OperationalError(1021, "Disk full"), "the disk is full"),
    (MYSQL, pymysql.err.OperationalError(1114, "The table 'x' is full"), "the disk is full"),
    (
        MYSQL,
        pymysql.err.InternalError(3, "Error writing file 'x' (Errcode: 28 \"No space left\")"),
        "the disk is full",
    ),
    (
        MYSQL,
        pymysql.err.OperationalError(1290, "running with the --read-only option"),
        "it takes no writes",
    ),
    (
        MYSQL,
        pymysql.err.OperationalError(1792, "Cannot execute in a READ ONLY transaction"),
        "it takes no writes",
    ),
    (
        MYSQL,
        pymysql.err.OperationalError(1040, "Too many connections"),
        "it has too many connections already",
    ),
    (
        MYSQL,
        pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"),
        "another process has locked it",
    ),
]


@pytest.mark.parametrize(("url", "error", "sentence"), SENTENCES)
def test_a_trouble_is_told_in_words(url: str, error: Exception, sentence: str) -> None:
    wrapped = DBAPIError.instance("SELECT", None, error, Exception)
    assert isinstance(wrapped, DBAPIError)
    assert dialect_of(make_url(url)).reason(wrapped).startswith(sentence)


@contextlib.contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """As long as this lasts, SQLite says that there is no room for another page."""
    pages = 1

    def limit(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA max_page_count={pages}").close()

    event.listen(database.engine, "begin", limit)
    yield
    pages = 1_000_000


def test_a_full_disk_is_named_by_health_and_log_and_nothing_is_lost(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = settings(mqtt_port=mosquitto.port)

    def health() -> dict[str, Any]:
        return status.health(values, sqlite)

    ingester = Ingester(values, sqlite, streams, new_pipeline(sqlite, streams))
    with full_disk(sqlite):
        ingester.start()
        with publishing(mosquitto.port) as publish:
            wait_for(partial(_subscribed, ingester), what="the subscription")
            for number in range(500):
                publish(f"sensors/{number}/data", payload())
        wait_for(lambda: health()["database"]["problem"], what="a word of the full disk")
        told = health()
    assert (told["status"], told["message"]) == (
        "degraded",
        "The database cannot be written: the disk is full",
    )
    assert told["mqtt"]["problem"] == "the database cannot be written: the disk is full"
    assert told["database"] == {
        "reachable": True, "url": str(sqlite), "problem": "the disk is full"
    }  # fmt: skip
    assert "The database cannot be written: the disk is full" in caplog.text
    wait_for(lambda: health()["mqtt"]["stored"] == 500)
    wait_for(lambda: health()["database"]["problem"] is None)
    ingester.stop()


def test_a_checkpoint_that_cannot_be_written_ends_nothing(sqlite: Database) -> None:
    with sqlite.open() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.rollback()
        with pytest.raises(Unavailable, match="read-only"):
            sqlite.checkpoint(connection)


@pytest.mark.database
def test_a_file_that_cannot_be_switched_to_its_log_says_why_at_once(
    tmp_path: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A URL may not ask for this; root may write any file.
    monkeypatch.setattr("storage.sqlite._check", lambda _: None)
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    made = Database(make_url(f"sqlite:///file:{tmp_path}/old.db?mode=ro&uri=true"), streams)
    with pytest.raises(Unavailable, match="read-only"):
        made.prepare()
    made.close()


@pytest.mark.database
def test_an_error_of_a_driver_that_nobody_foresaw_is_told_in_one_line(
    tmp_path: Path, streams: Streams
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("no name\nand more")

    made = Database(make_url(f"sqlite:///{tmp_path}/x.db"), streams)
    event.listen(made.engine, "do_connect", fail)
    with pytest.raises(Unavailable, match=r"DATABASE_URL: AssertionError: no name$"):
        made.prepare()


def test_a_copy_of_the_file_alone_has_what_was_stored(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    tmp_path: Path,
) -> None:
    file, copy = tmp_path / "test.db", tmp_path / "copy.db"

    def copied() -> int:
        shutil.copyfile(file, copy)
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(copy)) as connection,
        ):
            return int(connection.execute("SELECT count(*) FROM sensor_readings").fetchone()[0])
        return 0

    values = settings(mqtt_port=mosquitto.port)
    ingester = Ingester(values, sqlite, streams, new_pipeline(sqlite, streams))
    ingester.start()
    with publishing(mosquitto.port) as publish:
        wait_for(lambda: status.health(values, sqlite)["status"] == "healthy")
        publish("sensors/a/data", payload())
    wait_for(lambda: copied() == 1, seconds=5, what="a checkpoint")
    ingester.stop()
    sqlite.close()
    assert not Path(f"{file}-wal").exists()


@pytest.mark.broker
@pytest.mark.database
def test_no_request_is_answered_before_the_tables_are_there(
    settings: Callable[..., Settings],
) -> None:
    with running(settings(), start=True, prepare=False) as api:
        assert api.get("/api/sensors/history")["count"] == 0
        assert api.get("/api/health")["database"]["reachable"]


def test_a_process_that_starts_without_a_database_says_why(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiring.backend.TABLES_SECONDS", 0.5)
    away = settings(database_url="postgresql://u:secret@127.0.0.1:1/x")
    with running(away, start=True, prepare=False) as api:
        told = api.get("/api/health", 503)
    assert told["status"] == "unhealthy"
    assert "refused" in told["message"]


def test_requests_that_come_while_the_tables_are_made_wait_for_them(
    sqlite: Database, tmp_path: Path, streams: Streams
) -> None:
    late = Database(make_url(f"sqlite:///{tmp_path}/late.db"), streams)
    answers: list[str] = []

    def ask() -> None:
        with late.read() as reader:
            answers.append(queries.installation.client_id(reader))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    late.close()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_processes_with_different_declarations_degrade_health_until_they_are_gone(
    settings: Callable[..., Settings], database: Database, streams: Streams
) -> None:
    def told() -> str:
        return str(status.health(settings(), database)["message"])

    other = Database(database.dialect.url, streams)
    other.declarations = "another"
    mine, theirs = ProcessHeartbeat(database), ProcessHeartbeat(other)
    theirs._name = "elsewhere:1"
    mine._write(leaving=False)
    assert "different declarations" not in told()
    theirs._write(leaving=False)
    assert "different declarations of streams; restart the older ones: " in told()
    assert "elsewhere:1 (another)" in told()
    theirs._write(leaving=True)
    assert "different declarations" not in told()
    theirs._write(leaving=False)
    with database.write() as connection, database.transaction(connection):
        connection.execute(
            text("UPDATE processes SET heartbeat_at = '2026-01-01' WHERE name = 'elsewhere:1'")
        )
    assert "different declarations" not in told()
    other.close()


def _subscribed(ingester: Ingester) -> bool:
    subscriber = None if ingester._turn is None else ingester._turn._subscriber
    return subscriber is not None and subscriber.state.subscribed
