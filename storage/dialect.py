"""What every kind of database has to answer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Insert, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from storage.failures import first_line, sentence
from storage.locks import Lock

Row = tuple[Any, ...]
"""The values of a reading table's columns, in their order, without id and created_at: device, time, …"""
Columns = ReadOnlyColumnCollection[str, Any]
Merge = Callable[[Columns, Columns], Sequence[tuple[str, Any]]]
"""Of the stored and the incoming columns of a row: columns to change, and to what."""
CONNECT_SECONDS = 5
LOCK_SECONDS = 5
"""How long a server is waited for, and another connection's lock."""
POOL: Mapping[str, Any] = {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 40, "pool_recycle": 3600}


class Dialect:
    """One kind of database."""

    SENTENCES: ClassVar[Mapping[str, str]] = {}
    """Regular expressions for what the driver says (code, then text), and what people are told instead."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.era = 0
        """Counts the databases that have been found in the same place, one after the other."""

    def create_engine(self) -> Engine:
        """An engine with this dialect's options; it does not connect yet."""
        raise NotImplementedError

    def insert_rows(self, connection: Connection, table: Table, rows: Sequence[Row], written_at: datetime) -> int:
        """Insert the rows whose key is new and say how many those were. Raises DBAPIError."""
        raise NotImplementedError

    def is_one_statement(self, table: Table, rows: Sequence[Row]) -> bool:
        """Whether an insert of these rows that is refused leaves the transaction as it was, without a savepoint."""
        del table, rows
        return False

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        """An insert that changes the row with the same key, if there is one, as `merge` says."""
        raise NotImplementedError

    def lock(self, connection: Connection, name: str) -> Lock:
        """A lock with this name, which ends with the connection at the latest."""
        raise NotImplementedError

    def turn(self) -> AbstractContextManager[None]:
        """What a transaction that writes is to be inside of, where the writers of a process must queue."""
        return nullcontext()

    def refuses(self, error: DBAPIError) -> bool:
        """Whether the database refused the data, rather than being away, full, locked or broken."""
        raise NotImplementedError

    def refuses_table(self, error: DBAPIError) -> bool:
        """Whether the database refused to make or change a table as it is declared."""
        raise NotImplementedError

    def code(self, error: SQLAlchemyError) -> str:
        """What the driver calls this error; empty where it says nothing."""
        raise NotImplementedError

    def spoils(self, error: SQLAlchemyError) -> bool:
        """Whether the connection may be what is wrong, so that another might do."""
        raise NotImplementedError

    def reason(self, error: SQLAlchemyError) -> str:
        """Why the database does not do its work, in one line for people."""
        told = first_line(error)
        return sentence(self.SENTENCES, f"{self.code(error)} {told}") or told

    def fault(self, connection: Connection) -> str | None:
        """What has happened to the place that a connection writes to, which nobody will read; None if nothing has."""
        del connection
        return None

    def abandon(self, connection: Connection) -> None:
        """Save what can be saved of what a connection has written to such a place, and drop all that are like it."""

    def close(self, engine: Engine) -> None:
        """Close all connections that are not in use."""
        engine.dispose()

    def checkpoint(self, connection: Connection) -> None:
        """Bring what is committed into the file that people copy. Raises SQLAlchemyError."""


def columns(table: Table) -> list[str]:
    """The columns that a row fills."""
    return [column.name for column in table.columns if column.name not in ("id", "created_at")]


def quoted(names: Sequence[str]) -> str:
    """The names as SQL has them."""
    return ", ".join(f'"{name}"' for name in names)


def literal(moment: datetime) -> str:
    """A time as SQL has it. Every row of a batch has it: as text of the statement it costs nothing per row."""
    return f"'{moment.isoformat(' ', 'microseconds')}'"
