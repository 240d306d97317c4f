"""PostgreSQL through psycopg2: bulk insert, locks, errors."""

import io
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg2
from psycopg2.extensions import encodings
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from storage import failures
from storage.dialect import (
    CONNECT_SECONDS,
    LOCK_SECONDS,
    POOL,
    TEXT_CODEC,
    Dialect,
    Merge,
    Row,
    check_parts,
    columns,
    literal,
    quoted,
)
from storage.locks import Lock, SessionLock

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_NEEDS_ESCAPE = re.compile(r"[\\\t\n\r]")
_WHOLE_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
# A database in SQL_ASCII keeps the bytes that it gets; what AutoForge sends it is UTF-8.
_CODECS = {**encodings, "SQL_ASCII": "utf_8"}
_WAIT_FOR_LOCK = "SELECT true FROM pg_advisory_lock(:key)"
_TRY_LOCK = "SELECT pg_try_advisory_lock(:key)"
_UNLOCK = "SELECT pg_advisory_unlock(:key)"


class PostgreSQL(Dialect):
    """Rows go in by COPY."""

    MESSAGES: ClassVar[Mapping[str, str]] = {
        "^53100|No space left on device": failures.FULL,
        "^25006|read-only transaction": failures.READ_ONLY,
        "^53300|too many clients|too many connections|remaining connection slots": failures.CROWDED,
        "^53200": failures.MEMORY,
        "^55P03": failures.LOCKED,
        "^54": failures.TOO_WIDE,
    }
    PARAMETERS = "the connection options of libpq"
    _LOCKS: ClassVar[Mapping[str, int]] = {"ingest": 0, "schema": 1, "jobs": 2}

    def create_engine(self) -> Engine:
        # Neither a server that vanished nor a locked table may hold the ingest thread for minutes.
        network = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
        query = self.url.normalized_query
        own = {name: value for name, value in network.items() if name not in query}
        # Whatever PGCLIENTENCODING and the database say: any text must fit.
        arguments = {**own, "options": self._options(), "client_encoding": "utf8"}
        # One round trip for all rows of an upsert; psycopg2 would make one for each.
        batch: Any = {"executemany_mode": "values_plus_batch"}
        engine = create_engine(self.url, connect_args=arguments, **batch, **POOL)
        _check(engine, arguments)
        event.listen(engine, "connect", self._on_connect)
        return engine

    @staticmethod
    def _on_connect(connection: Any, record: ConnectionPoolEntry) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            record.info[TEXT_CODEC] = _CODECS.get(encoding, "ascii")

    def _options(self) -> str:
        """The options of DATABASE_URL between ours: the last of two with one name holds."""
        stated = self.url.normalized_query.get("options", ())
        own = "-c synchronous_commit=on -c timezone=UTC"
        return " ".join([f"-c lock_timeout={LOCK_SECONDS}s", *stated, own])

    def insert_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Row],
        written_at: datetime,
    ) -> int:
        names = quoted(columns(table))
        incoming = f"incoming_{table.name}"
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} "  # noqa: S608 - checked names
            "ON COMMIT DELETE ROWS "
            f'AS SELECT {names} FROM "{table.name}" WITH NO DATA'
        )
        _copy(connection, f"COPY {incoming} ({names}) FROM STDIN", rows)
        return connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({names}, created_at) '  # noqa: S608 - checked names
            f"SELECT {names}, {literal(written_at)} FROM {incoming} "
            "ON CONFLICT (device_id, timestamp, fingerprint) DO NOTHING"
        ).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        statement = postgresql.insert(table)
        changes = merge(table.c, statement.excluded)
        return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))

    def lock(self, connection: Connection, name: str) -> Lock:
        arguments = {"key": 0x4175746F_00000001 + self._LOCKS[name]}
        take = _WAIT_FOR_LOCK if name == "schema" else _TRY_LOCK
        return SessionLock(connection, take, _UNLOCK, arguments)

    def refuses(self, error: DBAPIError) -> bool:
        # SQLSTATE classes: data exception, constraint violation, row too wide, raised by a trigger.
        return isinstance(error, DataError) or self.code(error)[:2] in ("22", "23", "54", "P0")

    def refuses_table(self, error: DBAPIError) -> bool:
        # Not supported, a rule of SQL or of access, a limit of the program.
        return self.code(error)[:2] in ("0A", "42", "54")

    def code(self, error: SQLAlchemyError) -> str:
        return str(getattr(getattr(error, "orig", None), "pgcode", None) or "")

    def spoils(self, error: SQLAlchemyError) -> bool:
        # The server of this connection may have become a standby, and another have taken its name.
        return self.code(error) == "25006"


def _check(engine: Engine, own: Mapping[str, Any]) -> None:
    """Have libpq check the parameters, without a server. Raises ValueError."""
    check_parts(engine.url)
    _, stated = engine.dialect.create_connect_args(engine.url)
    arguments = {**stated, **own}
    if _letters(stated.get("client_encoding", "utf8")) not in ("utf8", "unicode"):
        raise ValueError("AutoForge sends UTF-8 to every database; leave it out, or write utf8")
    if stated.keys() & {"cursor_factory", "dsn"}:
        raise ValueError("it is psycopg2's, and no text")
    for name in _WHOLE_NUMBERS:
        # libpq looks at these only once it has a server.
        if name in arguments and not re.fullmatch(r"\s*[+-]?\d+\s*", str(arguments[name])):
            raise ValueError(f"{name} must be a whole number")
    # One for each host, because there may be a port for each.
    hosts = str(arguments.get("host", "")).split(",")
    # An empty address also hides that of PGHOSTADDR.
    arguments |= {"host": ",".join([os.devnull] * len(hosts)), "hostaddr": ""}
    try:
        psycopg2.connect(**arguments)
    except (psycopg2.Error, TypeError) as error:
        if os.devnull not in str(error):
            fault = str(error).partition("\n")[0].removeprefix("invalid dsn: ")
            raise ValueError(fault) from error


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _copy(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    try:
        # Encoded here, because psycopg2 would have the server report a text that is no UTF-8.
        lines = io.BytesIO("\n".join(map(_copy_line, rows)).encode())
        cursor: Any = connection.connection.cursor()
        cursor.copy_expert(statement, lines)
        cursor.close()
    except UnicodeEncodeError as error:
        raise DataError(statement, None, error) from error
    except psycopg2.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg2.Error) from error


def _copy_line(row: Row) -> str:
    if _NEEDS_ESCAPE.search("".join(value for value in row if isinstance(value, str))):
        row = tuple(_escaped(value) for value in row)
    return "\t".join(["\\N" if value is None else str(value) for value in row])


def _escaped(value: Any) -> Any:
    return _NEEDS_ESCAPE.sub(_escape, value) if isinstance(value, str) else value


def _escape(found: re.Match[str]) -> str:
    return _ESCAPED[found[0]]
