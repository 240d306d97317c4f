"""What a SELECT can be asked of, and how SELECTs with very many values are asked."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, text
from sqlalchemy.orm import Session

Reader = Connection | Session
CHUNK = 500
"""SQLite takes 32,766 parameters, MySQL plans badly above some hundreds."""


def in_chunks(
    reader: Reader, query: Select[Any], column: ColumnElement[Any], values: Iterable[str]
) -> list[RowMapping]:
    """The rows of a query whose column has one of these values."""
    ordered = sorted(values)
    chunks = (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))
    return [row for chunk in chunks for row in reader.execute(query.where(column.in_(chunk))).mappings()]


def ping(reader: Reader) -> None:
    """Ask the database for a sign of life."""
    reader.execute(text("SELECT 1"))
