"""Texts that the encoding of a database cannot hold."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, String, Table

from storage.dialect import TEXT_CODEC


def held(connection: Connection, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for a table, with `\\u` and a number for what this database cannot hold.

    Refused itself, the record of a wrong message or value would stop ingestion.
    """
    codec = connection.info.get(TEXT_CODEC)
    if codec is None:
        return dict(row)
    return {name: _fitting(value, table.c.get(name), codec) for name, value in row.items()}


def _fitting(value: Any, column: Column[Any] | None, codec: str) -> Any:
    if column is None or not isinstance(value, str) or not isinstance(column.type, String):
        return value
    # In SQL_ASCII a character is a byte.
    return value.encode(codec, "backslashreplace")[: column.type.length].decode(codec, "ignore")
