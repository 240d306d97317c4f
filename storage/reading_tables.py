"""The reading table of each stream, made from its declaration."""

from collections.abc import Iterable
from typing import Any, assert_never

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, MetaData, String, Table, text
from sqlalchemy.types import TypeEngine

from columns import MYSQL_OPTIONS, Identifier, LongText, Timestamp
from models import MAX_DEVICE_TIMESTAMP
from streams.metric import MetricType
from streams.stream import Stream
from utils.identity import MAX_DEVICE_ID, MAX_TEXT

# Nearly all readings have none; MySQL has no partial indexes.
_STATED = text("device_timestamp IS NOT NULL")


def reading_tables(streams: Iterable[Stream]) -> dict[str, Table]:
    """The table of every stream, by the stream's name."""
    metadata = MetaData()
    return {stream.name: reading_table(stream, metadata) for stream in streams}


def reading_table(stream: Stream, metadata: MetaData) -> Table:
    """The table of one stream: the common columns and one nullable column per metric.

    `rest` has the fields that no metric takes, as a JSON object.
    """
    return Table(
        stream.table,
        metadata,
        Column("id", Identifier, primary_key=True),
        Column("device_id", String(MAX_DEVICE_ID), nullable=False),
        Column("timestamp", Timestamp, nullable=False),
        # The device's own time, if it was not credible and the server's was taken.
        Column("device_timestamp", String(MAX_DEVICE_TIMESTAMP)),
        *[Column(metric.name, column_type(metric.type)) for metric in stream.metrics],
        *([Column("rest", LongText)] if stream.keeps_rest else []),
        Column("fingerprint", BigInteger, nullable=False),
        Column("created_at", Timestamp, nullable=False),
        *_indexes(stream.table),
        **MYSQL_OPTIONS,
    )


def column_type(kind: MetricType) -> TypeEngine[Any]:
    """Return the type of the column for a type of metric."""
    match kind:
        case "number":
            return Double()
        case "text":
            return String(MAX_TEXT)
        case "boolean":
            return Boolean()
        case "integer":
            return BigInteger()
        case _:
            assert_never(kind)


def type_in(column: object) -> MetricType:
    """Return the type of metric that a column of this type holds; the inverse of `column_type`.

    The name of the type may be the database's: MySQL's BOOLEAN is TINYINT.
    """
    name = str(column).upper()
    if "CHAR" in name or "TEXT" in name:
        return "text"
    if "BOOL" in name or "TINYINT" in name:
        return "boolean"
    return "integer" if "INT" in name else "number"


def _indexes(table: str) -> list[Index]:
    return [
        Index(f"uq_{table}", "device_id", "timestamp", "fingerprint", unique=True),
        Index(f"ix_{table}_timestamp", "timestamp"),
        Index(f"ix_{table}_created_at", "created_at"),
        Index(
            f"ix_{table}_stated",
            "device_timestamp",
            sqlite_where=_STATED,
            postgresql_where=_STATED,
        ),
    ]
