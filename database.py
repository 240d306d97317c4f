"""Database: engine, sessions, schema and the write of a batch; no queries."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

import backfill
import schema
from dialects import Lock, Merge, Row, dialect_of
from models import Base, reading_tables
from streams.declaration import Streams

SCHEMA_WAIT_SECONDS = 60


class Unavailable(Exception):
    """The database cannot do its work now: away, locked, full. Trying again later may succeed."""


class Refused(NamedTuple):
    """A row that the database would not take, and why."""

    place: int
    reason: str


class WriteResult(NamedTuple):
    """What became of the rows for one table."""

    stored: int
    refused: list[Refused]


class Database:
    """One database with the tables of all declared streams. Connects when it is first used."""

    def __init__(self, url: URL, streams: Streams) -> None:
        self.dialect = dialect_of(url)
        self.engine = self.dialect.create_engine()
        self._streams = streams
        self.tables: Mapping[str, Table] = reading_tables(streams)

    def __str__(self) -> str:
        # Some drivers take a password in the query as well.
        return str(self.dialect.url.set(query={}))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for reading models. Raises Unavailable when the database fails."""
        with self._failures_as_unavailable(), Session(self.engine) as session:
            yield session

    @contextmanager
    def reader(self) -> Iterator[Connection]:
        """A connection for reading, which costs a third of a session. Raises Unavailable when the database fails."""
        with self._failures_as_unavailable(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for writing. Raises Unavailable when the database fails."""
        with self._failures_as_unavailable(), self.engine.connect() as connection:
            yield connection.execution_options(writes=True)

    def open(self) -> Connection:
        """A connection for writing that the caller closes. Raises Unavailable."""
        with self._failures_as_unavailable():
            return self.engine.connect().execution_options(writes=True)

    def prepare(self) -> None:
        """Create and migrate the tables, one process at a time. Raises Unavailable, SchemaError."""
        with self.connection() as connection, self._locked(connection), connection.begin():
            schema.bring_up_to_date(connection, self.tables.values())
            backfill.bring_up_to_date(connection, self._streams, self.tables)

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """Commit what is written inside, or nothing. Raises Unavailable."""
        with self._failures_as_unavailable(), connection.begin():
            yield

    def write_batch(
        self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime
    ) -> WriteResult:
        """Insert rows whose key is new; a row the database refuses is set aside, the others stay. Raises DBAPIError."""
        return self._write(connection, table, rows, written_at, 0)

    def _write(
        self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime, offset: int
    ) -> WriteResult:
        try:
            with connection.begin_nested():
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
        """The lock `ingest`, `analyses` or `schema` of this database, held by this connection."""
        return self.dialect.lock(connection, name)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()

    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[None]:
        lock = self.lock(connection, "schema")
        if not lock.acquire(SCHEMA_WAIT_SECONDS):
            raise Unavailable("another process has been changing the schema for a minute")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _failures_as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise Unavailable(reason[0] if reason else type(error).__name__) from error
