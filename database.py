"""Database: engine, connections, transactions and the write of a batch; no queries."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.engine import URL

from models import Base
from storage import backfill, schema
from storage.batch import BatchWriter, Refused, WriteResult
from storage.connection_pool import ConnectionPool
from storage.dialect import Merge, Row
from storage.dialects import dialect_of
from storage.driver_errors import DriverErrors
from storage.failures import BadData, Replaced, Unavailable
from storage.locks import Lock, held
from storage.preparation import Preparation
from storage.reading_tables import reading_tables
from storage.trouble import Trouble
from streams.registry import Streams

__all__ = ["BadData", "Database", "Refused", "Replaced", "Unavailable", "WriteResult"]
logger = logging.getLogger(__name__)
SCHEMA_WAIT_SECONDS = 60
SCHEMA_LOCKED = "another process has been changing the schema for a minute"


class Database:
    """One database with the tables of all declared streams.

    Connects, and makes the tables, when it is first used. Raises SettingsError for a URL that
    cannot be used.
    """

    def __init__(self, url: URL, streams: Streams) -> None:
        self.dialect = dialect_of(url)
        self._pool = ConnectionPool(self.dialect)
        self.engine = self._pool.engine
        self._streams = streams
        self.tables: Mapping[str, Table] = reading_tables(streams)
        self.declarations = streams.digest
        """Differs between different declarations."""
        self.unusable: Mapping[str, str] = streams.unusable
        """Why a stream cannot be used, its declaration or its table, by its name."""
        self.trouble = Trouble()
        self.client_id: str | None = None
        """The MQTT client id for a database made anew, so that the broker's session goes on."""
        self._preparation = Preparation(self.dialect, self._make_tables)

    def __str__(self) -> str:
        # Some drivers take a password in the query as well.
        return str(self.dialect.url.set(query={}))

    def read(self) -> AbstractContextManager[Connection]:
        """A connection for reading. Raises Unavailable, BadData."""
        self._preparation.ensure()
        return self._pool.read()

    def write(self) -> AbstractContextManager[Connection]:
        """A connection for writing; after it all that was committed is safe. Raises Unavailable."""
        self._preparation.ensure()
        return self._pool.write()

    def open(self) -> Connection:
        """A connection for writing that the caller closes. Raises Unavailable."""
        self._preparation.ensure()
        return self._pool.open().execution_options(writes=True)

    def prepare(self) -> None:
        """Create and migrate the tables now. Raises Unavailable, SchemaError."""
        self._preparation.run()

    def ensure_prepared(self) -> None:
        """Create and migrate the tables unless this has been done. Raises Unavailable."""
        self._preparation.ensure()

    def wait_until_prepared(self, seconds: float, ended: threading.Event) -> None:
        """Return once the tables are there, the time is over, or `ended` is set."""
        self._preparation.wait(seconds, ended)

    def stop_preparing(self) -> None:
        """Let a process that stops wait no more for a database that has no tables yet."""
        self._preparation.stop()

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """Commit what is written inside, or nothing. Raises Unavailable, BadData, Replaced."""
        try:
            with DriverErrors(self.dialect, connection):
                with self.dialect.turn(), connection.begin():
                    self._pool.check(connection)  # now that no other can write
                    yield
                self._pool.check(connection)
        except BadData:
            raise
        except Unavailable as error:
            self.trouble.failed(str(error))
            raise
        self.trouble.succeeded()

    def check(self, connection: Connection) -> None:
        """Raise Replaced if the database of this connection has been replaced."""
        self._pool.check(connection)

    def checkpoint(self, connection: Connection) -> None:
        """Bring what is committed into the file that people copy. Raises Unavailable."""
        with DriverErrors(self.dialect, connection):
            self._pool.check(connection)
            self.dialect.checkpoint(connection)
            self._pool.check(connection)

    def write_batch(
        self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime
    ) -> WriteResult:
        """Insert the rows whose key is new, but none that is refused. Raises DBAPIError."""
        if not rows:
            return WriteResult(0, [])
        return BatchWriter(self.dialect, connection, table, written_at).write(rows)

    def upsert(self, model: type[Base], keys: Sequence[str], merge: Merge) -> Insert:
        """A statement that inserts rows of different keys, or merges each into the one it has."""
        return self.dialect.upsert(model.metadata.tables[model.__tablename__], keys, merge)

    def lock(self, connection: Connection, name: str) -> Lock:
        """The lock `ingest`, `jobs` or `schema` of this database, held by this connection."""
        return self.dialect.lock(connection, name)

    def abandon(self, connection: Connection) -> None:
        """Give up a connection whose database has been replaced, and all that are like it."""
        self.dialect.abandon(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.dialect.close(self.engine)

    def _make_tables(self) -> int:
        with self._pool.write() as connection:
            lock = self.lock(connection, "schema")
            with held(lock, SCHEMA_WAIT_SECONDS, SCHEMA_LOCKED), connection.begin():
                era = self.dialect.era
                errors = self._bring_up_to_date(connection)
        self.unusable = {**self._streams.unusable, **errors}
        for name, reason in self.unusable.items():
            logger.error("The stream %s cannot be used: %s", name, reason)
        return era

    def _bring_up_to_date(self, connection: Connection) -> dict[str, str]:
        """Change the schema and fill it; returns why a stream has no usable table, by its name."""
        errors = schema.bring_up_to_date(connection, self.dialect, self.tables, self.client_id)
        usable = {name: table for name, table in self.tables.items() if name not in errors}
        backfill.bring_up_to_date(connection, self._streams, usable)
        return errors
