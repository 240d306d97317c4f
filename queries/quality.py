"""Statements on `metric_quality`: how often devices have sent no value, or one that is unreadable.

A row exists only for a device with readings of the stream, because faults are counted for stored
readings only. So nobody can fill the table with invented names further than `devices`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, RowMapping, delete, select

from device_models import MetricQuality
from queries.encodings import held
from queries.readings import TimeFilter, listed
from queries.upserts import Upsert
from storage.dialect import Columns
from streams.stream import Stream

_QUALITY = MetricQuality.metadata.tables["metric_quality"]
_SHOWN = [column for column in _QUALITY.c if column.name != "stream"]


def quality(reader: Connection, stream: Stream, device_id: str | None) -> Sequence[RowMapping]:
    """Return the faults by device and metric, of one device or of all.

    Metrics that are no longer declared are left out.
    """
    declared = _QUALITY.c.metric.in_([metric.name for metric in stream.metrics])
    query = listed(select(*_SHOWN), _QUALITY, TimeFilter(device_id))
    query = query.where(_QUALITY.c.stream == stream.name, declared)
    return reader.execute(query.order_by(_QUALITY.c.device_id, _QUALITY.c.metric)).mappings().all()


def counting_faults(upsert: Upsert) -> Insert:
    """Return the upsert of all columns that adds `missing` and `unreadable`."""
    return upsert(MetricQuality, ("stream", "device_id", "metric"), _added)


def add(connection: Connection, counting: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the faults of rows with different keys, with the upsert of `counting_faults`."""
    connection.execute(counting, [held(connection, _QUALITY, row) for row in rows])


def forget(connection: Connection, stream: str, device_id: str) -> None:
    """Delete the counts of a device of a stream."""
    own = (_QUALITY.c.stream == stream) & (_QUALITY.c.device_id == device_id)
    connection.execute(delete(_QUALITY).where(own))


def _added(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    added = [(name, stored[name] + incoming[name]) for name in ("missing", "unreadable")]
    return [*added, *((name, incoming[name]) for name in ("last_example", "last_at"))]
