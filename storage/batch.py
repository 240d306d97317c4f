"""The write of a batch: a row that the database refuses does not sink the others."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from storage.dialect import Dialect, Row
from storage.failures import first_line


class Refused(NamedTuple):
    """A row that the database refused, and why."""

    row: int
    """Its index in the batch."""
    reason: str


class WriteResult(NamedTuple):
    """How the rows for one table were stored."""

    stored: int
    refused: list[Refused]


class BatchWriter:
    """Inserts rows into one table, and halves a refused batch until the bad rows stand alone."""

    def __init__(
        self,
        dialect: Dialect,
        connection: Connection,
        table: Table,
        written_at: datetime,
    ) -> None:
        self._dialect = dialect
        self._connection = connection
        self._table = table
        self._written_at = written_at

    def write(self, rows: Sequence[Row], offset: int = 0) -> WriteResult:
        """Insert the rows whose key is new; the first has the index `offset`. Raises DBAPIError."""
        try:
            return WriteResult(self._insert(rows), [])
        except DBAPIError as error:
            if not self._dialect.refuses(error):
                raise
            if len(rows) == 1:
                return WriteResult(0, [Refused(offset, first_line(error))])
        middle = len(rows) // 2
        first = self.write(rows[:middle], offset)
        second = self.write(rows[middle:], offset + middle)
        return WriteResult(first.stored + second.stored, first.refused + second.refused)

    def _insert(self, rows: Sequence[Row]) -> int:
        alone = self._dialect.is_one_statement(self._table, rows)
        with contextlib.nullcontext() if alone else self._connection.begin_nested():
            return self._dialect.insert_rows(self._connection, self._table, rows, self._written_at)
