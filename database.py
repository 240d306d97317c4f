"""Database: engine, sessions, schema and the write of a batch; no queries."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import NamedTuple

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from config import SettingsError
from models import Base
from storage import backfill, schema
from storage.dialect import Merge, Row
from storage.dialects import dialect_of
from storage.failures import BadData, Replaced, Unavailable
from storage.locks import Lock
from storage.reading_tables import reading_tables
from storage.trouble import Trouble
from streams.registry import Streams

__all__ = ["BadData", "Database", "Refused", "Replaced", "Unavailable", "WriteResult"]
logger = logging.getLogger(__name__)
SCHEMA_WAIT_SECONDS = 60
READY_SECONDS = 10
RETRY_SECONDS = 1.0
POLL_SECONDS = 0.2


class Refused(NamedTuple):
    """A row that the database would not take, and why."""

    place: int
    reason: str


class WriteResult(NamedTuple):
    """What became of the rows for one table."""

    stored: int
    refused: list[Refused]


class Database:
    """One database with the tables of all declared streams. Connects, and makes the tables, when it is first used.

    Raises SettingsError for a URL that says what cannot be.
    """

    def __init__(self, url: URL, streams: Streams) -> None:
        self.dialect = dialect_of(url)
        try:
            self.engine = self.dialect.create_engine()
        except ValueError as error:
            raise SettingsError(f"DATABASE_URL: a parameter cannot be used: {error}") from error
        self._streams = streams
        self.tables: Mapping[str, Table] = reading_tables(streams)
        self.declarations = streams.digest
        """Different for different declarations."""
        self._undeclared = streams.unusable
        self.unusable: Mapping[str, str] = streams.unusable
        """Why a stream cannot be used, its declaration or its table, by its name."""
        self.trouble = Trouble()
        self.client_id: str | None = None
        """The MQTT client id that a database made anew is to have, so that the broker's session goes on."""
        self._prepared_for: int | None = None
        """The era of the database whose tables have been made."""
        self._preparing = threading.Lock()
        self._failure: tuple[float, str] | None = None

    def __str__(self) -> str:
        # Some drivers take a password in the query as well.
        return str(self.dialect.url.set(query={}))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for reading models. Raises Unavailable when the database fails."""
        with self.reader() as connection, Session(connection) as session:
            yield session

    def reader(self) -> AbstractContextManager[Connection]:
        """A connection for reading, which costs a third of a session. Raises Unavailable, BadData."""
        self.ensure_prepared()
        return self._connected()

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection for writing; at its end all that was committed is safe. Raises Unavailable."""
        self.ensure_prepared()
        return self._writer()

    def open(self) -> Connection:
        """A connection for writing that the caller closes. Raises Unavailable."""
        self.ensure_prepared()
        return self._connect().execution_options(writes=True)

    def ensure_prepared(self) -> None:
        """Create and migrate the tables unless this has been done. Raises Unavailable."""
        if self._prepared_for == self.dialect.era:
            return
        if not self._preparing.acquire(timeout=READY_SECONDS):
            raise Unavailable("its tables are being made")
        try:
            if self._failure is not None and time.monotonic() - self._failure[0] < RETRY_SECONDS:
                raise Unavailable(self._failure[1])
            if self._prepared_for != self.dialect.era:
                self.prepare()
        finally:
            self._preparing.release()

    def prepare(self) -> None:
        """Create and migrate the tables, one process at a time. Raises Unavailable, SchemaError."""
        try:
            with self._writer() as connection, self._locked(connection), connection.begin():
                era = self.dialect.era
                faults = schema.bring_up_to_date(connection, self.dialect, self.tables, self.client_id)
                usable = {name: table for name, table in self.tables.items() if name not in faults}
                backfill.bring_up_to_date(connection, self._streams, usable)
        except Unavailable as error:
            self._failure = time.monotonic(), str(error)
            raise
        self.unusable = {**self._undeclared, **faults}
        self._prepared_for, self._failure = era, None
        for name, reason in self.unusable.items():
            logger.error("The stream %s cannot be used: %s", name, reason)

    def wait_until_prepared(self, seconds: float) -> None:
        """Return once the tables are there, or the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(Unavailable):
                return self.ensure_prepared()
            time.sleep(POLL_SECONDS)
        return None

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """Commit what is written inside, or nothing. Raises Unavailable: also where it was committed to no purpose."""
        try:
            with self._failures_as_unavailable(connection):
                with self.dialect.turn(), connection.begin():
                    self.check(connection)  # now that no other can write
                    yield
                self.check(connection)
        except BadData:
            raise
        except Unavailable as error:
            self.trouble.failed(str(error))
            raise
        self.trouble.succeeded()

    def check(self, connection: Connection) -> None:
        """Raise Replaced if nobody will ever read what this connection writes."""
        if fault := self.dialect.fault(connection):
            raise Replaced(fault)

    def checkpoint(self, connection: Connection) -> None:
        """Bring what is committed into the one file that people copy, where there is one. Raises Unavailable."""
        with self._failures_as_unavailable(connection):
            self.check(connection)
            self.dialect.checkpoint(connection)
            self.check(connection)

    def write_batch(
        self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime
    ) -> WriteResult:
        """Insert rows whose key is new; a row the database refuses is set aside, the others stay. Raises DBAPIError."""
        if not rows:
            return WriteResult(0, [])
        return self._write(connection, table, rows, written_at, 0)

    def _write(
        self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime, offset: int
    ) -> WriteResult:
        try:
            alone = self.dialect.is_one_statement(table, rows)
            with contextlib.nullcontext() if alone else connection.begin_nested():
                return WriteResult(self.dialect.insert_rows(connection, table, rows, written_at), [])
        except DBAPIError as error:
            if not self.dialect.refuses(error):
                raise
            if len(rows) == 1:
                return WriteResult(0, [Refused(offset, str(error.orig).splitlines()[0])])
        middle = len(rows) // 2
        first = self._write(connection, table, rows[:middle], written_at, offset)
        second = self._write(connection, table, rows[middle:], written_at, offset + middle)
        return WriteResult(first.stored + second.stored, first.refused + second.refused)

    def add(
        self, connection: Connection, model: type[Base], key: Mapping[str, str], amounts: Mapping[str, int]
    ) -> None:
        """Add amounts to the columns of the row with this key; make the row if there is none. Raises DBAPIError."""
        sums = self.upsert(
            model, list(key), lambda stored, incoming: [(name, stored[name] + incoming[name]) for name in amounts]
        )
        connection.execute(sums, [{**key, **amounts}])

    def upsert(self, model: type[Base], keys: Sequence[str], merge: Merge) -> Insert:
        """A statement that inserts rows, or changes those with the same keys, as `merge` says; for no key twice."""
        return self.dialect.upsert(model.metadata.tables[model.__tablename__], keys, merge)

    def lock(self, connection: Connection, name: str) -> Lock:
        """The lock `ingest`, `jobs` or `schema` of this database, held by this connection."""
        return self.dialect.lock(connection, name)

    def abandon(self, connection: Connection) -> None:
        """Give up a connection whose place in the database has been taken away, and all that are like it."""
        self.dialect.abandon(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.dialect.close(self.engine)

    def _connect(self) -> Connection:
        with self._failures_as_unavailable():
            try:
                return self.engine.connect()
            except (TypeError, ValueError, OSError) as error:
                # Drivers look at the parameters of DATABASE_URL only now, and do not call them its.
                raise Unavailable(f"a parameter of DATABASE_URL cannot be used: {error}") from error

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = self._connect()
        with self._failures_as_unavailable(), connection, self._failures_as_unavailable(connection):
            yield connection

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        with self._connected() as connection:
            yield connection.execution_options(writes=True)
            self.check(connection)

    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[None]:
        lock = self.lock(connection, "schema")
        if not lock.acquire(SCHEMA_WAIT_SECONDS):
            raise Unavailable("another process has been changing the schema for a minute")
        try:
            yield
        finally:
            lock.release()

    def _failures_as_unavailable(self, connection: Connection | None = None) -> "_Failures":
        return _Failures(self, connection)


class _Failures:
    """Turns what the driver raises into Unavailable; a class, because it is on every request's way."""

    def __init__(self, database: Database, connection: Connection | None) -> None:
        self._database = database
        self._connection = connection

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Replaced) and self._connection is not None:
            self._database.abandon(self._connection)
        elif isinstance(error, SQLAlchemyError):
            raise self._told(_cause(error)) from error

    def _told(self, error: SQLAlchemyError) -> Unavailable:
        dialect = self._database.dialect
        if self._connection is not None and dialect.spoils(error):
            if fault := dialect.fault(self._connection):
                self._database.abandon(self._connection)
                return Replaced(fault)
            self._connection.invalidate()
        known = BadData if isinstance(error, DBAPIError) and dialect.refuses(error) else Unavailable
        return known(dialect.reason(error))


def _cause(error: SQLAlchemyError) -> SQLAlchemyError:
    """What ended a transaction, where all that is left to complain about is its savepoint."""
    before = error.__context__ if "savepoint" in str(error).lower() else None
    while before is not None and not isinstance(before, DBAPIError):
        before = before.__context__
    return before or error
