"""What differs between SQLite, PostgreSQL and MySQL: connecting, bulk insert, locks, and what an error means."""

import contextlib
import io
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import psycopg2
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.base import ReadOnlyColumnCollection

Row = tuple[Any, ...]
"""The values of a reading table's columns, in their order, without id and created_at: device, time, …"""
Columns = ReadOnlyColumnCollection[str, Any]
Merge = Callable[[Columns, Columns], Sequence[tuple[str, Any]]]
"""Of the stored and the incoming columns of a row: columns to change, and to what."""
BUSY_SECONDS = 10
CONNECT_SECONDS = 5
LOCK_SECONDS = 5
_POOL = {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 40, "pool_recycle": 3600}
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_NEEDS_ESCAPE = re.compile(r"[\\\t\n\r]")


class Lock:
    """A lock that one process at a time holds."""

    ends_with_connection = True

    def acquire(self, wait_seconds: float) -> bool:
        """Try to take it, waiting this long."""
        raise NotImplementedError

    def release(self) -> None:
        """Give it back."""
        raise NotImplementedError


class FileLockOf(Lock):
    """A lock on a file beside the SQLite database."""

    ends_with_connection = False

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)

    def acquire(self, wait_seconds: float) -> bool:
        try:
            self._lock.acquire(timeout=wait_seconds)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        self._lock.release()


class Dialect:
    """One kind of database."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def create_engine(self) -> Engine:
        """An engine with this dialect's options; it does not connect yet."""
        raise NotImplementedError

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        """Insert the rows whose key is new and say how many those were. Raises DBAPIError."""
        raise NotImplementedError

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        """An insert that changes the row with the same key, if there is one, as `merge` says."""
        raise NotImplementedError

    def lock(self, connection: Connection, name: str) -> Lock:
        """A lock with this name, which ends with the connection at the latest."""
        raise NotImplementedError

    def refuses(self, error: DBAPIError) -> bool:
        """Whether the database refused the data, rather than being away, full, locked or broken."""
        raise NotImplementedError


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a file to its write-ahead log. Of two that do so at the same time SQLite refuses one at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not _is_write_ahead(connection):
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("the file is locked")
        time.sleep(0.01)


def _is_write_ahead(connection: sqlite3.Connection) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):
        return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
    return False


class SQLite(Dialect):
    """SQLite: a file, write-ahead log, every commit on the disk."""

    def create_engine(self) -> Engine:
        engine = create_engine(self.url, connect_args={"timeout": BUSY_SECONDS}, **_POOL)
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", self._on_begin)
        return engine

    @staticmethod
    def _on_connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN would come too late for savepoints and for the write lock.
        connection.isolation_level = None
        _write_ahead(connection)
        for pragma in ("synchronous=FULL", "cache_size=-16000"):
            connection.execute(f"PRAGMA {pragma}").close()

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        # A writer that begins as a reader cannot wait for its turn: SQLite refuses at once. A single SELECT needs none.
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = _columns(table)
        marks = ", ".join("?" * len(names))
        sql = (
            f'INSERT INTO "{table.name}" ({_quoted(names)}, created_at) '  # noqa: S608 - names are checked identifiers
            f"VALUES ({marks}, {_literal(written_at)}) ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        )
        encoded = [(row[0], row[1].isoformat(" ", "microseconds"), *row[2:]) for row in rows]
        return connection.exec_driver_sql(sql, encoded).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = sqlite.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:  # noqa: ARG002 - SQLite has no locks of its own
        path = Path(self.url.database or "")
        return FileLockOf(path.with_name(f"{path.name}.{name}.lock"))

    def refuses(self, error: DBAPIError) -> bool:
        return isinstance(
            error.orig, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError)
        )


class _SessionLock(Lock):
    """A lock that the server keeps for a connection."""

    def __init__(self, connection: Connection, take: str, give: str, arguments: Mapping[str, Any]) -> None:
        self._connection = connection
        self._take = take
        self._give = give
        self._arguments = arguments

    def acquire(self, wait_seconds: float) -> bool:
        taken = self._connection.execute(text(self._take), {**self._arguments, "wait": wait_seconds}).scalar()
        self._connection.commit()
        return bool(taken)

    def release(self) -> None:
        self._connection.execute(text(self._give), self._arguments)
        self._connection.commit()


class PostgreSQL(Dialect):
    """PostgreSQL through psycopg2: rows go in by COPY."""

    _LOCKS: ClassVar = ["ingest", "schema", "analyses"]

    def create_engine(self) -> Engine:
        # Neither a server that vanished without a word nor a locked table may hold the ingest thread for minutes.
        options = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": f"-c synchronous_commit=on -c timezone=UTC -c lock_timeout={LOCK_SECONDS}s",
        }
        return create_engine(self.url, connect_args=options, **_POOL)

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = _quoted(_columns(table))
        incoming = f"incoming_{table.name}"
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS "  # noqa: S608 - checked identifiers
            f'AS SELECT {names} FROM "{table.name}" WITH NO DATA'
        )
        copy = f"COPY {incoming} ({names}) FROM STDIN"
        lines = io.StringIO("\n".join(map(_copy_line, rows)))
        try:
            cursor: Any = connection.connection.cursor()
            cursor.copy_expert(copy, lines)
            cursor.close()
        except psycopg2.Error as error:
            raise DBAPIError.instance(copy, None, error, psycopg2.Error) from error
        return connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({names}, created_at) '  # noqa: S608 - checked identifiers
            f"SELECT {names}, {_literal(written_at)} FROM {incoming} "
            "ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        ).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = postgresql.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:
        arguments = {"key": 0x4175746F_00000001 + self._LOCKS.index(name)}
        take = "SELECT true FROM pg_advisory_lock(:key)" if name == "schema" else "SELECT pg_try_advisory_lock(:key)"
        return _SessionLock(connection, take, "SELECT pg_advisory_unlock(:key)", arguments)

    def refuses(self, error: DBAPIError) -> bool:
        # SQLSTATE classes: data exception, constraint violation, raised by a trigger.
        return str(getattr(error.orig, "pgcode", None) or "")[:2] in ("22", "23", "P0")


class MySQL(Dialect):
    """MySQL and MariaDB through PyMySQL."""

    _REFUSALS: ClassVar = {1264, 1265, 1292, 1364, 1366, 1367, 1406, 1048, 1062, 1452, 1644, 3819, 4025}

    def create_engine(self) -> Engine:
        # client_flag 0: without FOUND_ROWS a duplicate counts as no row, which is what tells it from a new one.
        network = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 30, "write_timeout": 30, "client_flag": 0}
        # By default a recursive query ends at 1,000 rounds, in MariaDB without a word.
        recursion = "/*M! max_recursive_iterations */ /*!80000 cte_max_recursion_depth */ = 4294967295"
        waiting = f"innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
        return create_engine(
            self.url, connect_args={**network, "init_command": f"SET SESSION {recursion}, {waiting}"}, **_POOL
        )

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = _columns(table)
        quoted = ", ".join(f"`{name}`" for name in names)
        marks = ", ".join(["%s"] * len(names))
        sql = (
            f"INSERT INTO `{table.name}` ({quoted}, created_at) "  # noqa: S608 - checked identifiers
            f"VALUES ({marks}, {_literal(written_at)}) ON DUPLICATE KEY UPDATE id=id"
        )
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:  # noqa: ARG002 - it finds the key itself
        statement = mysql.insert(table)
        # In this order: each change sees those before it.
        return statement.on_duplicate_key_update(list(merge(table.c, statement.inserted)))

    def lock(self, connection: Connection, name: str) -> Lock:
        # GET_LOCK's names belong to the whole server.
        arguments = {"name": f"autoforge.{name}.{self.url.database}"[:64]}
        return _SessionLock(connection, "SELECT GET_LOCK(:name, :wait)", "SELECT RELEASE_LOCK(:name)", arguments)

    def refuses(self, error: DBAPIError) -> bool:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else None
        return code in self._REFUSALS


def dialect_of(url: URL) -> Dialect:
    """The dialect of a database URL."""
    kinds: dict[str, type[Dialect]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MySQL}
    return kinds[url.get_backend_name()](url)


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in ("id", "created_at")]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _literal(moment: datetime) -> str:
    # Every row of a batch has it: as text of the statement it costs nothing per row.
    return f"'{moment.isoformat(' ', 'microseconds')}'"


def _copy_line(row: Row) -> str:
    values = ["\\N" if value is None else str(value) for value in row]
    if _NEEDS_ESCAPE.search("".join(value for value in row if isinstance(value, str))):
        values = [
            value if raw is None else _NEEDS_ESCAPE.sub(_escape, value) for raw, value in zip(row, values, strict=True)
        ]
    return "\t".join(values)


def _escape(found: re.Match[str]) -> str:
    return _ESCAPED[found[0]]
