"""The dialects by their URLs, and what PostgreSQL and MySQL have of their own: bulk insert, locks, errors."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg2
from pymysql.constants import CLIENT
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from storage import failures
from storage.dialect import POOL, Dialect, Merge, Row, columns, literal, quoted
from storage.locks import Lock, SessionLock
from storage.sqlite import SQLite

CONNECT_SECONDS = 5
LOCK_SECONDS = 5
MAX_LOCK_NAME = 45
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_NEEDS_ESCAPE = re.compile(r"[\\\t\n\r]")


class PostgreSQL(Dialect):
    """PostgreSQL through psycopg2: rows go in by COPY."""

    SENTENCES: ClassVar[Mapping[str, str]] = {
        "^53100|No space left on device": failures.FULL,
        "^25006|read-only transaction": failures.READ_ONLY,
        "^53300|too many clients|too many connections|remaining connection slots": failures.CROWDED,
        "^53200": failures.MEMORY,
        "^55P03": failures.LOCKED,
        "^54": failures.TOO_WIDE,
    }
    _LOCKS: ClassVar = ["ingest", "schema", "analyses"]

    def create_engine(self) -> Engine:
        # Neither a server that vanished without a word nor a locked table may hold the ingest thread for minutes.
        network = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
        own = {name: value for name, value in network.items() if name not in self.url.normalized_query}
        return create_engine(self.url, connect_args={**own, "options": self._options()}, **POOL)

    def _options(self) -> str:
        """The options of DATABASE_URL, after which the last of two that are alike holds."""
        stated = self.url.normalized_query.get("options", ())
        own = "-c synchronous_commit=on -c timezone=UTC"
        return " ".join([f"-c lock_timeout={LOCK_SECONDS}s", *stated, own])

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = quoted(columns(table))
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
            f"SELECT {names}, {literal(written_at)} FROM {incoming} "
            "ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        ).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = postgresql.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:
        arguments = {"key": 0x4175746F_00000001 + self._LOCKS.index(name)}
        take = "SELECT true FROM pg_advisory_lock(:key)" if name == "schema" else "SELECT pg_try_advisory_lock(:key)"
        return SessionLock(connection, take, "SELECT pg_advisory_unlock(:key)", arguments)

    def refuses(self, error: DBAPIError) -> bool:
        # SQLSTATE classes: data exception, constraint violation, row too wide, raised by a trigger.
        return self.code(error)[:2] in ("22", "23", "54", "P0")

    def refuses_table(self, error: DBAPIError) -> bool:
        # Not supported, a rule of SQL or of access, a limit of the program.
        return self.code(error)[:2] in ("0A", "42", "54")

    def code(self, error: SQLAlchemyError) -> str:
        return str(getattr(getattr(error, "orig", None), "pgcode", None) or "")

    def spoils(self, error: SQLAlchemyError) -> bool:
        # The server of this connection may have become a standby, and another have taken its name.
        return self.code(error) == "25006"


class MySQL(Dialect):
    """MySQL and MariaDB through PyMySQL."""

    SENTENCES: ClassVar[Mapping[str, str]] = {
        r"^(1021|1114)\b|Errcode: 28|errno: 28|error 28": failures.FULL,
        r"^(1792|1836)\b|^1290\b.*read-only": failures.READ_ONLY,
        r"^(1040|1203|1226)\b": failures.CROWDED,
        r"^(1037|1038|1041)\b": failures.MEMORY,
        r"^1205\b": failures.LOCKED,
        r"^(1117|1118)\b|errno: (139|185)\b": failures.TOO_WIDE,
    }
    _REFUSALS: ClassVar = {1264, 1265, 1292, 1364, 1366, 1367, 1406, 1048, 1062, 1118, 1452, 1644, 1690, 3819, 4025}
    _TABLE_REFUSALS: ClassVar = {1050, 1059, 1060, 1061, 1069, 1071, 1074, 1117, 1118, 1142, 1166, 1293, 1709, 1785}
    _READ_ONLY: ClassVar = {"1290", "1792", "1836"}
    _SESSION = (
        # By default a recursive query ends at 1,000 rounds, in MariaDB without a word.
        "SET SESSION /*M! max_recursive_iterations */ /*!80000 cte_max_recursion_depth */ = 4294967295, "
        f"innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
    )

    def create_engine(self) -> Engine:
        network = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 30, "write_timeout": 30}
        own = {name: value for name, value in network.items() if name not in self.url.normalized_query}
        # Without FOUND_ROWS a duplicate counts as no row, which is what tells it from a new one.
        flags = int(self.url.normalized_query.get("client_flag", ("0",))[-1]) & ~CLIENT.FOUND_ROWS
        engine = create_engine(self.url, connect_args={**own, "client_flag": flags}, **POOL)
        # Not as init_command, of which DATABASE_URL may have one.
        event.listen(engine, "connect", self._on_connect)
        return engine

    def _on_connect(self, connection: Any, _: ConnectionPoolEntry) -> None:
        with connection.cursor() as cursor:
            cursor.execute(self._SESSION)

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        names = columns(table)
        quoted = ", ".join(f"`{name}`" for name in names)
        marks = ", ".join(["%s"] * len(names))
        sql = (
            f"INSERT INTO `{table.name}` ({quoted}, created_at) "  # noqa: S608 - checked identifiers
            f"VALUES ({marks}, {literal(written_at)}) ON DUPLICATE KEY UPDATE id=id"
        )
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:  # noqa: ARG002 - it finds the key itself
        statement = mysql.insert(table)
        # In this order: each change sees those before it.
        return statement.on_duplicate_key_update(list(merge(table.c, statement.inserted)))

    def lock(self, connection: Connection, name: str) -> Lock:
        # GET_LOCK's names belong to the whole server, and have at most 64 characters.
        database = str(self.url.database)
        if len(database) > MAX_LOCK_NAME:
            database = hashlib.sha256(database.encode()).hexdigest()[:MAX_LOCK_NAME]
        arguments = {"name": f"autoforge.{name}.{database}"}
        return SessionLock(connection, "SELECT GET_LOCK(:name, :wait)", "SELECT RELEASE_LOCK(:name)", arguments)

    def refuses(self, error: DBAPIError) -> bool:
        return self.code(error) in map(str, self._REFUSALS)

    def refuses_table(self, error: DBAPIError) -> bool:
        return self.code(error) in map(str, self._TABLE_REFUSALS) or self.reason(error) == failures.TOO_WIDE

    def code(self, error: SQLAlchemyError) -> str:
        arguments = getattr(getattr(error, "orig", None), "args", ())
        return str(arguments[0]) if arguments else ""

    def spoils(self, error: SQLAlchemyError) -> bool:
        return self.code(error) in self._READ_ONLY


def dialect_of(url: URL) -> Dialect:
    """The dialect of a database URL."""
    kinds: dict[str, type[Dialect]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MySQL}
    return kinds[url.get_backend_name()](url)


def _copy_line(row: Row) -> str:
    values = ["\\N" if value is None else str(value) for value in row]
    if _NEEDS_ESCAPE.search("".join(value for value in row if isinstance(value, str))):
        values = [
            value if raw is None else _NEEDS_ESCAPE.sub(_escape, value) for raw, value in zip(row, values, strict=True)
        ]
    return "\t".join(values)


def _escape(found: re.Match[str]) -> str:
    return _ESCAPED[found[0]]
