"""The `Reader` that SELECTs run on, and SELECTs with many values in chunks."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, text
from sqlalchemy.orm import Session

Reader = Connection | Session
CHUNK = 500
"""Values per statement: SQLite takes 32,766, but MySQL plans badly above some hundreds."""


def in_chunks(
    reader: Reader, query: Select[Any], column: ColumnElement[Any], values: Iterable[str]
) -> list[RowMapping]:
    """Return the rows of a query whose column has one of the values."""
    ordered = sorted(values)
    chunks = (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))
    return [
        row for chunk in chunks for row in reader.execute(query.where(column.in_(chunk))).mappings()
    ]


def ping(reader: Reader) -> None:
    """Run `SELECT 1` to find out whether the database answers."""
    reader.execute(text("SELECT 1"))
