"""PostgreSQL through psycopg2: bulk insert, locks, errors."""

import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg2
from sqlalchemy import Connection, Engine, Insert, Table, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from storage import failures
from storage.dialect import CONNECT_SECONDS, LOCK_SECONDS, POOL, Dialect, Merge, Row, columns, literal, quoted
from storage.locks import Lock, SessionLock

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_NEEDS_ESCAPE = re.compile(r"[\\\t\n\r]")


class PostgreSQL(Dialect):
    """Rows go in by COPY."""

    SENTENCES: ClassVar[Mapping[str, str]] = {
        "^53100|No space left on device": failures.FULL,
        "^25006|read-only transaction": failures.READ_ONLY,
        "^53300|too many clients|too many connections|remaining connection slots": failures.CROWDED,
        "^53200": failures.MEMORY,
        "^55P03": failures.LOCKED,
        "^54": failures.TOO_WIDE,
    }
    _LOCKS: ClassVar[Mapping[str, int]] = {"ingest": 0, "schema": 1, "jobs": 2}

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
        # One round trip for the rows of an upsert, for which psycopg2 would make one each.
        batch: Any = {"executemany_mode": "values_plus_batch"}
        return create_engine(self.url, connect_args={**own, "options": self._options()}, **batch, **POOL)

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
        arguments = {"key": 0x4175746F_00000001 + self._LOCKS[name]}
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


def _copy_line(row: Row) -> str:
    values = ["\\N" if value is None else str(value) for value in row]
    if _NEEDS_ESCAPE.search("".join(value for value in row if isinstance(value, str))):
        values = [
            value if raw is None else _NEEDS_ESCAPE.sub(_escape, value) for raw, value in zip(row, values, strict=True)
        ]
    return "\t".join(values)


def _escape(found: re.Match[str]) -> str:
    return _ESCAPED[found[0]]
