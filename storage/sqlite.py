"""SQLite: a file, its write-ahead log, every commit on the disk."""

import contextlib
import os
import re
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
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from config import SettingsError
from storage import failures
from storage.dialect import POOL, Dialect, Merge, Row, columns, literal, quoted
from storage.files import check_log
from storage.locks import FileLockOf, Lock
from storage.present_file import PresentFile
from utils.database_url import file_of, is_file_uri
from utils.paths import check_folder

BUSY_SECONDS = 10
_VALUES = {
    "timeout": (r"\d{1,6}(\.\d+)?", "a number of seconds, such as 10"),
    "cached_statements": (r"\d{1,6}", "a whole number, such as 128"),
    "uri": (".*", "true or false"),
}
LONGEST_SUFFIX = len(".schema.lock")
"""Of the files beside the database: its log, its journal and the locks."""
MAX_PATH = 512 - len("-journal")
"""Bytes; what SQLite opens."""
_OF_FILE_URI = "mode=rw or mode=rwc where uri=true and the path begins with file:"
MAX_PARAMETERS = 900
"""Before 3.32 SQLite takes 999 in a statement."""


class SQLite(Dialect):
    """A file."""

    MESSAGES: ClassVar[Mapping[str, str]] = {
        "^SQLITE_FULL": failures.FULL,
        "^SQLITE_READONLY": failures.READ_ONLY,
        "^SQLITE_(BUSY|LOCKED)": failures.LOCKED,
        "^SQLITE_(CORRUPT|NOTADB)": "its file is damaged: put a backup in its place",
        "^SQLITE_IOERR": "its disk cannot be read or written",
        "^SQLITE_NOMEM": failures.MEMORY,
        "too many columns|too many SQL variables": failures.TOO_WIDE,
    }
    PARAMETERS = f"timeout (seconds), cached_statements, uri, and {_OF_FILE_URI}"
    _REFUSALS = (sqlite3.IntegrityError, sqlite3.InterfaceError)
    _SPOILING = re.compile("SQLITE_(READONLY|IOERR|CORRUPT|NOTADB|CANTOPEN)")

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        # Symbolic links stay: they may point elsewhere later.
        self.file = os.path.abspath(file_of(url))  # noqa: PTH100 - Path.resolve follows them
        self._present = PresentFile(self.file)
        self._writing = threading.Lock()

    @property
    def era(self) -> int:
        return self._present.era

    def create_engine(self) -> Engine:
        _check(self.url)
        _check_length(os.path.realpath(self.file))
        _check_folder(self.file)
        own = {} if "timeout" in self.url.normalized_query else {"timeout": BUSY_SECONDS}
        engine = create_engine(self.url, connect_args=own, **POOL)
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", self._on_begin)
        self._present.watch(engine)
        return engine

    def _on_connect(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN would come too late for savepoints and for the write lock.
        connection.isolation_level = None
        _write_ahead(connection)
        # The first statement that reads opens the log.
        for pragma in ("synchronous=FULL", "cache_size=-16000", "schema_version"):
            connection.execute(f"PRAGMA {pragma}").close()
        check_log(os.path.realpath(self.file), connection)
        self._present.opened(connection, record)

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        # SQLite refuses a writer that began as a reader, instead of letting it wait for its turn.
        # A single SELECT needs no transaction.
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def fault(self, connection: Connection) -> str | None:
        return self._present.fault(connection)

    def abandon(self, connection: Connection) -> None:
        self._present.abandon(connection)

    def checkpoint(self, connection: Connection) -> None:
        # Not through SQLAlchemy, which would begin a transaction.
        driver: Any = connection.connection.dbapi_connection
        try:
            # The change raises the counter at the head of the file.
            version = driver.execute("PRAGMA user_version").fetchone()[0]
            driver.execute(f"PRAGMA user_version={(version + 1) % 2**31}").close()
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
        except sqlite3.Error as error:
            statement = "PRAGMA wal_checkpoint"
            raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error

    def close(self, engine: Engine) -> None:
        unused = not isinstance(engine.pool, QueuePool) or engine.pool.checkedout() == 0
        self._checkpoint_at_the_end(engine)
        super().close(engine)
        if unused:
            self._present.close()

    def _checkpoint_at_the_end(self, engine: Engine) -> None:
        # SQLite does it itself where no other process has the file open.
        if isinstance(engine.pool, QueuePool) and engine.pool.checkedin():
            with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
                if not self.fault(connection):
                    self.checkpoint(connection)

    def insert_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Row],
        written_at: datetime,
    ) -> int:
        names = columns(table)
        values = f"({', '.join('?' * len(names))}, {literal(written_at)})"
        encoded = [(row[0], row[1].isoformat(" ", "microseconds"), *row[2:]) for row in rows]
        alone = self.is_one_statement(table, rows)
        sql = (
            f'INSERT INTO "{table.name}" ({quoted(names)}, created_at) '  # noqa: S608 - names
            f"VALUES {', '.join([values] * len(rows)) if alone else values} "
            "ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        )
        parameters = tuple(chain(*encoded)) if alone else encoded
        return connection.exec_driver_sql(sql, parameters).rowcount

    def is_one_statement(self, table: Table, rows: Sequence[Row]) -> bool:
        # Each statement lets other threads run and then waits for them:
        # the fewer, the sooner a small batch is stored.
        return len(rows) * len(table.columns) <= MAX_PARAMETERS

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = sqlite.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:
        del connection  # SQLite has no named locks
        # Two processes may know the file by different names.
        path = Path(self.file).resolve()
        return FileLockOf(path.with_name(f"{path.name}.{name}.lock"))

    @contextmanager
    def turn(self) -> Iterator[None]:
        # SQLite has its writers poll every 100 ms and serves the first that asks:
        # of thirty threads one may starve.
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise failures.Unavailable(failures.LOCKED)
        try:
            yield
        finally:
            self._writing.release()

    def refuses(self, error: DBAPIError) -> bool:
        return isinstance(error, DataError) or isinstance(error.orig, self._REFUSALS)

    def refuses_table(self, error: DBAPIError) -> bool:
        return self.code(error) == "SQLITE_ERROR"

    def code(self, error: SQLAlchemyError) -> str:
        return str(getattr(getattr(error, "orig", None), "sqlite_errorname", ""))

    def reason(self, error: SQLAlchemyError) -> str:
        if self.code(error) == "SQLITE_CANTOPEN":
            needed = "its folder must be there, and may be written by this user"
            return f"{self.file} cannot be opened: {needed}"
        return super().reason(error)

    def spoils(self, error: SQLAlchemyError) -> bool:
        # A connection that was opened while the file was read-only remains so.
        return self._SPOILING.match(self.code(error)) is not None


def _check(url: URL) -> None:
    """Refuse what SQLAlchemy ignores, and what AutoForge cannot work with. Raises ValueError."""
    allowed = {**_VALUES, "mode": ("rwc?", "rw or rwc")} if is_file_uri(url) else _VALUES
    for name, values in url.normalized_query.items():
        if name not in allowed:
            raise ValueError("AutoForge writes the file, and has no other use for parameters")
        pattern, wanted = allowed[name]
        if not re.fullmatch(pattern, values[-1]):
            raise ValueError(f"{values[-1]!r} is not {wanted}")


def _check_length(file: str) -> None:
    """SQLite and the locks would fail at each attempt, without a word of the length."""
    try:
        most = os.pathconf(Path(file).parent, "PC_NAME_MAX") - LONGEST_SUFFIX
    except OSError:
        return  # the folder is what is wrong
    length, name = len(os.fsencode(file)), len(os.fsencode(Path(file).name))
    if name > most:
        raise SettingsError(_too_long(f"the name of the file has {name} bytes", most))
    if length > MAX_PATH:
        raise SettingsError(_too_long(f"the path {file} has {length} bytes", MAX_PATH))


def _too_long(fault: str, most: int) -> str:
    return f"DATABASE_URL: {fault}; with the files beside it at most {most} are possible"


def _check_folder(file: str) -> None:
    folder = Path(file).parent
    try:
        check_folder(folder)
    except OSError as error:
        needed = "name a file in a folder that this user may write"
        fault = f"the folder {folder} cannot be written: {error.strerror}"
        raise SettingsError(f"DATABASE_URL: {fault}; {needed}") from error


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a file to its write-ahead log; SQLite refuses the second of two that do so at once."""
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
