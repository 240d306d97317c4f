"""What every kind of database has to provide."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Insert, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from storage.failures import first_line, known_message
from storage.locks import Lock

Row = tuple[Any, ...]
"""The values of a reading table's columns in their order, without id and created_at."""
Columns = ReadOnlyColumnCollection[str, Any]
Merge = Callable[[Columns, Columns], Sequence[tuple[str, Any]]]
"""Given the stored and the incoming columns of a row: the columns to change, and their values."""
CONNECT_SECONDS = 5
LOCK_SECONDS = 5
"""How long to wait for a server, and for a lock of another connection."""
TEXT_CODEC = "text_codec"
"""Where `Connection.info` has the codec of all that a text may hold, unless that is Unicode."""
POOL: Mapping[str, Any] = {
    "pool_pre_ping": True,
    "pool_size": 10,
    "max_overflow": 40,
    "pool_recycle": 3600,
}


class Dialect(ABC):
    """One kind of database."""

    MESSAGES: ClassVar[Mapping[str, str]] = {}
    """Regular expressions for the driver's code and text, and the message for people."""
    PARAMETERS: ClassVar[str]
    """The parameters of DATABASE_URL that are allowed."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @property
    def era(self) -> int:
        """Counts the databases that were found in this place, one after the other."""
        return 0

    @abstractmethod
    def create_engine(self) -> Engine:
        """An engine with this dialect's options; it does not connect yet.

        Raises ValueError, TypeError or ArgumentError for a parameter that the driver refuses.
        """

    @abstractmethod
    def insert_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Row],
        written_at: datetime,
    ) -> int:
        """Insert the rows whose key is new, and return their number. Raises DBAPIError."""

    def is_one_statement(self, table: Table, rows: Sequence[Row]) -> bool:
        """Whether a refused insert of these rows leaves the transaction as it was."""
        del table, rows
        return False

    @abstractmethod
    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        """An insert that changes the row with the same key, if there is one, as `merge` says."""

    @abstractmethod
    def lock(self, connection: Connection, name: str) -> Lock:
        """A lock with this name, which ends with the connection at the latest."""

    def turn(self) -> AbstractContextManager[None]:
        """Where the writers of a process must queue: what a transaction that writes runs in."""
        return nullcontext()

    @abstractmethod
    def refuses(self, error: DBAPIError) -> bool:
        """Whether the data was refused, rather than the database away, full, locked or broken.

        A DataError is such a refusal, by the server or already by the driver.
        """

    @abstractmethod
    def refuses_table(self, error: DBAPIError) -> bool:
        """Whether the database refused to create or change a table as it is declared."""

    @abstractmethod
    def code(self, error: SQLAlchemyError) -> str:
        """The driver's code for this error; empty if it has none."""

    @abstractmethod
    def spoils(self, error: SQLAlchemyError) -> bool:
        """Whether the connection may be the cause, so that another one might work."""

    def reason(self, error: SQLAlchemyError) -> str:
        """Why the database cannot do its work, in one line for people."""
        text = first_line(error)
        return known_message(self.MESSAGES, f"{self.code(error)} {text}") or text

    def fault(self, connection: Connection) -> str | None:
        """Why nobody will read what this connection writes; None as long as all is well."""
        del connection
        return None

    def abandon(self, connection: Connection) -> None:
        """Save what can be saved of such a connection's writes, and drop all that are like it."""
        del connection

    def close(self, engine: Engine) -> None:
        """Close all connections that are not in use."""
        engine.dispose()

    def checkpoint(self, connection: Connection) -> None:
        """Bring what is committed into the file that people copy. Raises SQLAlchemyError."""
        del connection


_PARTS = {
    "host": "host",
    "port": "port",
    "user": "username",
    "password": "password",
    "passwd": "password",
    "dbname": "database",
    "database": "database",
    "db": "database",
}


def check_parts(url: URL) -> None:
    """Refuse a parameter that contradicts what log and health show. Raises ValueError."""
    for name, values in url.normalized_query.items():
        part = _PARTS.get(name)
        stated = getattr(url, part) if part else None
        if stated and any(value != str(stated) for value in values):
            raise ValueError(f"before the ? the URL says another {part}; keep one of the two")


def columns(table: Table) -> list[str]:
    """The columns that a row fills."""
    own = ("id", "created_at")
    return [column.name for column in table.columns if column.name not in own]


def quoted(names: Sequence[str]) -> str:
    """The names as SQL identifiers."""
    return ", ".join(f'"{name}"' for name in names)


def literal(time: datetime) -> str:
    """A time as an SQL literal. All rows of a batch share it, so that it costs nothing per row."""
    return f"'{time.isoformat(' ', 'microseconds')}'"
