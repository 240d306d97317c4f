"""SELECTs with many values in chunks, and one that finds out whether the database answers."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, text

CHUNK = 500
"""Values per statement: SQLite takes 32,766, but MySQL plans badly above some hundreds."""


def in_chunks(
    reader: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[str]
) -> list[RowMapping]:
    """Return the rows of a query whose column has one of the values."""
    ordered = sorted(values)
    chunks = (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))
    return [
        row for chunk in chunks for row in reader.execute(query.where(column.in_(chunk))).mappings()
    ]


def ping(reader: Connection) -> None:
    """Run `SELECT 1` to find out whether the database answers."""
    reader.execute(text("SELECT 1"))
