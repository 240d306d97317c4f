"""SQLite: a file, its write-ahead log, every commit on the disk."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from storage import failures
from storage.dialect import POOL, Dialect, Merge, Row, columns, literal, quoted
from storage.files import Headers, Identity, OpenFiles, check_log, size
from storage.locks import FileLockOf, Lock
from utils.database_url import file_of

logger = logging.getLogger(__name__)
BUSY_SECONDS = 10
PAUSE_SECONDS = 0.5
"""Before a file that has been replaced is opened: until then all processes have ended what they had begun."""
LOOK_SECONDS = 0.1
MAX_PARAMETERS = 900
"""SQLite takes 999 in a statement before 3.32."""
_FILES, _ERA = "files", "era"


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a file to its write-ahead log. Of two that do so at the same time SQLite refuses one at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not _is_write_ahead(connection):
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("the file is locked")
        time.sleep(0.01)


def _is_write_ahead(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False


class SQLite(Dialect):
    """A file."""

    SENTENCES: ClassVar[Mapping[str, str]] = {
        "^SQLITE_FULL": failures.FULL,
        "^SQLITE_READONLY": failures.READ_ONLY,
        "^SQLITE_(BUSY|LOCKED)": failures.LOCKED,
        "^SQLITE_(CORRUPT|NOTADB)": "its file is damaged: put a backup in its place",
        "^SQLITE_IOERR": "its disk cannot be read or written",
        "^SQLITE_NOMEM": failures.MEMORY,
        "too many columns|too many SQL variables": failures.TOO_WIDE,
    }

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self.file = os.path.abspath(file_of(url))  # noqa: PTH100 - symbolic links stay: they may point elsewhere later
        self._main: Identity = None
        self._headers = Headers()
        self._open_at = 0.0
        self._writing = threading.Lock()

    def create_engine(self) -> Engine:
        own = {} if "timeout" in self.url.normalized_query else {"timeout": BUSY_SECONDS}
        self._engine = create_engine(self.url, connect_args=own, **POOL)
        event.listen(self._engine, "do_connect", self._before_connect)
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "checkout", self._on_checkout)
        event.listen(self._engine, "checkin", self._on_checkin)
        event.listen(self._engine, "begin", self._on_begin)
        return self._engine

    def _before_connect(self, *_: Any) -> None:
        if time.monotonic() < self._open_at:
            raise sqlite3.OperationalError(f"{self.file} is being opened anew")
        if size(self.file) == 0:
            self.era += 1

    def _on_connect(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN would come too late for savepoints and for the write lock.
        connection.isolation_level = None
        _write_ahead(connection)
        # The first statement that reads opens the log.
        for pragma in ("synchronous=FULL", "cache_size=-16000", "schema_version"):
            connection.execute(f"PRAGMA {pragma}").close()
        check_log(os.path.realpath(self.file), connection)
        record.info[_FILES] = files = OpenFiles(self.file, connection, self._headers)
        if self._main not in (None, files.main):
            self.era += 1
        self._main = files.main
        record.info[_ERA] = self.era

    def _on_checkout(self, _: Any, record: ConnectionPoolEntry, __: Any) -> None:
        files: OpenFiles = record.info[_FILES]
        # Whoever writes looks at the files once more.
        if time.monotonic() - files.looked_at > LOOK_SECONDS and (fault := files.fault()):
            files.abandon()
            self._start_anew(fault)
            raise DisconnectionError(fault)

    def _on_checkin(self, connection: sqlite3.Connection | None, record: ConnectionPoolEntry) -> None:
        if connection is not None and record.info.get(_ERA) != self.era:
            files: OpenFiles = record.info[_FILES]
            if files.fault():
                files.abandon()
            record.invalidate()

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        # A writer that begins as a reader cannot wait for its turn: SQLite refuses at once. A single SELECT needs none.
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _start_anew(self, fault: str) -> None:
        logger.warning("%s: it is opened anew", fault)
        self.era += 1
        self._open_at = time.monotonic() + PAUSE_SECONDS
        self._engine.dispose()

    def fault(self, connection: Connection) -> str | None:
        if connection.invalidated:
            return None
        files: OpenFiles = connection.info[_FILES]
        return files.fault()

    def abandon(self, connection: Connection) -> None:
        if connection.invalidated:
            return
        files: OpenFiles = connection.info[_FILES]
        fault = files.fault() or f"{self.file} holds something else"
        files.abandon()
        connection.invalidate()
        self._start_anew(fault)

    def checkpoint(self, connection: Connection) -> None:
        # Not by way of SQLAlchemy, which would begin a transaction. The counter at the head of the file is to rise.
        driver: Any = connection.connection.dbapi_connection
        try:
            version = driver.execute("PRAGMA user_version").fetchone()[0]
            driver.execute(f"PRAGMA user_version={(version + 1) % 2**31}").close()
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
        except sqlite3.Error as error:
            raise DBAPIError.instance("PRAGMA wal_checkpoint", None, error, sqlite3.Error) from error

    def close(self, engine: Engine) -> None:
        unused = not isinstance(engine.pool, QueuePool) or engine.pool.checkedout() == 0
        self._checkpoint_at_the_end(engine)
        super().close(engine)
        if unused:
            self._headers.close()

    def _checkpoint_at_the_end(self, engine: Engine) -> None:
        # SQLite does it itself where no other process has the file open.
        if isinstance(engine.pool, QueuePool) and engine.pool.checkedin():
            with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
                if not self.fault(connection):
                    self.checkpoint(connection)

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = columns(table)
        values = f"({', '.join('?' * len(names))}, {literal(written_at)})"
        encoded = [(row[0], row[1].isoformat(" ", "microseconds"), *row[2:]) for row in rows]
        alone = self.is_one_statement(table, rows)
        sql = (
            f'INSERT INTO "{table.name}" ({quoted(names)}, created_at) '  # noqa: S608 - names are checked identifiers
            f"VALUES {', '.join([values] * len(rows)) if alone else values} "
            "ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        )
        return connection.exec_driver_sql(sql, tuple(chain(*encoded)) if alone else encoded).rowcount

    def is_one_statement(self, table: Table, rows: Sequence[Row]) -> bool:
        # Each statement lets other threads run, and then waits for them: the fewer, the sooner a small batch is stored.
        return len(rows) * len(table.columns) <= MAX_PARAMETERS

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = sqlite.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:  # noqa: ARG002 - SQLite has no locks of its own
        # Two processes may know the file by different names.
        path = Path(self.file).resolve()
        return FileLockOf(path.with_name(f"{path.name}.{name}.lock"))

    @contextmanager
    def turn(self) -> Iterator[None]:
        # SQLite lets its writers look again every 100 ms and serves whoever comes by: of thirty threads one may starve.
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise failures.Unavailable(failures.LOCKED)
        try:
            yield
        finally:
            self._writing.release()

    def refuses(self, error: DBAPIError) -> bool:
        return isinstance(
            error.orig, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError)
        )

    def refuses_table(self, error: DBAPIError) -> bool:
        return self.code(error) == "SQLITE_ERROR"

    def code(self, error: SQLAlchemyError) -> str:
        return str(getattr(getattr(error, "orig", None), "sqlite_errorname", ""))

    def reason(self, error: SQLAlchemyError) -> str:
        if self.code(error) == "SQLITE_CANTOPEN":
            return f"{self.file} cannot be opened: its folder must be there, and may be written by this user"
        return super().reason(error)

    def spoils(self, error: SQLAlchemyError) -> bool:
        # A connection that was opened while the file was read-only remains so.
        kinds = ("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN")
        return self.code(error).startswith(kinds)
