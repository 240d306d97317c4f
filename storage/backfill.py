"""Fills in what an earlier version, or an earlier declaration, did not store.

For each stream, in the transaction that brings the schema up to date: the keys of the newest
readings, so that what the broker still holds is not stored twice; the devices; the newest values.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from device_models import Device, NewestValue
from models import StreamState
from streams.reading_key import ReadingKey
from streams.registry import Streams
from streams.stream import Stream

AnyRow = Row[*tuple[Any, ...]]
logger = logging.getLogger(__name__)
REKEYED_ROWS = 100_000
"""The newest rows of a stream; a broker holds no more than that."""
CHUNK = 500
_STATES = StreamState.metadata.tables["stream_states"]
_DEVICES = Device.metadata.tables["devices"]
_NEWEST = NewestValue.metadata.tables["newest_values"]


def bring_up_to_date(connection: Connection, streams: Streams, tables: Mapping[str, Table]) -> None:
    """Fill in what is missing for each stream that has a table. Raises DBAPIError."""
    states = {row.stream: row for row in connection.execute(select(_STATES))}
    for stream in streams:
        table = tables.get(stream.name)
        if table is not None:
            _fill(connection, stream, table, states.get(stream.name))


def _fill(connection: Connection, stream: Stream, table: Table, state: AnyRow | None) -> None:
    lackable = [metric.name for metric in stream.lackable]
    if state is None or state.table_name != stream.table:
        _begin(connection, stream, table, lackable)
        return
    kept = set(state.newest_of.split())
    if kept != set(lackable):
        _fill_newest(connection, stream.name, table, sorted(set(lackable) - kept))
        connection.execute(_state(stream, lackable))


def _begin(connection: Connection, stream: Stream, table: Table, lackable: Sequence[str]) -> None:
    for kept in (_DEVICES, _NEWEST):
        connection.execute(delete(kept).where(kept.c.stream == stream.name))
    rekeyed = 0
    if connection.execute(select(table.c.id).limit(1)).first() is not None:
        rekeyed = _rekey(connection, table, ReadingKey.of_stream(stream))
        _fill_devices(connection, stream.name, table)
        _fill_newest(connection, stream.name, table, lackable)
    connection.execute(delete(_STATES).where(_STATES.c.stream == stream.name))
    values = {"stream": stream.name, "table_name": stream.table, "newest_of": " ".join(lackable)}
    connection.execute(insert(_STATES).values(values))
    if rekeyed:
        done = "The newest %d readings of %s have the keys of this version"
        logger.info(done, rekeyed, stream.name)


def _state(stream: Stream, lackable: Sequence[str]) -> Any:
    own = update(_STATES).where(_STATES.c.stream == stream.name)
    return own.values(newest_of=" ".join(lackable))


def _rekey(connection: Connection, table: Table, key: ReadingKey) -> int:
    """Give the newest rows their keys; if two become equal, the younger keeps its old key."""
    taken: set[tuple[str, datetime, int]] = set()
    rekeyed = 0
    for rows in _newest_rows(connection, table):
        keys: dict[int, int] = {}
        for reading_id, device_id, timestamp, old, *values in rows:
            new = key.of(values)
            if new != old and (device_id, timestamp, new) not in taken:
                keys[reading_id] = new
            taken.add((device_id, timestamp, new))
        if keys:
            chosen = case(keys, value=table.c.id)
            connection.execute(update(table).where(table.c.id.in_(keys)).values(fingerprint=chosen))
        rekeyed += len(keys)
    return rekeyed


def _newest_rows(connection: Connection, table: Table) -> Iterator[Sequence[AnyRow]]:
    """The newest rows with their metrics, oldest first, some at a time."""
    own = ("id", "device_id", "timestamp", "fingerprint")
    others = (*own, "device_timestamp", "created_at")
    metrics = [column for column in table.c if column.name not in others]
    columns = [table.c[name] for name in own] + metrics
    lowest = select(table.c.id).order_by(table.c.id.desc()).limit(1).offset(REKEYED_ROWS - 1)
    last = (connection.execute(lowest).scalar() or 1) - 1
    while True:
        page = select(*columns).where(table.c.id > last).order_by(table.c.id).limit(CHUNK)
        rows = connection.execute(page).all()
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _fill_devices(connection: Connection, stream: str, table: Table) -> None:
    newest = select(table.c.device_id, func.max(table.c.id).label("id"))
    last = newest.group_by(table.c.device_id).subquery()
    rows = select(literal(stream), table.c.device_id, table.c.id, table.c.created_at)
    rows = rows.join(last, last.c.id == table.c.id)
    names = ["stream", "device_id", "last_id", "last_heard"]
    connection.execute(insert(_DEVICES).from_select(names, rows))


def _fill_newest(connection: Connection, stream: str, table: Table, metrics: Sequence[str]) -> None:
    names = ["stream", "device_id", "metric", "timestamp", "reading_id"]
    for metric in metrics:
        own = (_NEWEST.c.stream == stream) & (_NEWEST.c.metric == metric)
        connection.execute(delete(_NEWEST).where(own))
        rows = _newest_with(stream, table, metric)
        connection.execute(insert(_NEWEST).from_select(names, rows))


def _newest_with(stream: str, table: Table, metric: str) -> Select[*tuple[Any, ...]]:
    """Of each device the newest reading that has a value of the metric."""
    device, time = table.c.device_id, table.c.timestamp
    has = table.c[metric].is_not(None)
    newest = select(device, func.max(time).label("timestamp")).where(has)
    newest_of = newest.group_by(device).subquery()
    same = (newest_of.c.device_id == device) & (newest_of.c.timestamp == time)
    rows = select(literal(stream), device, literal(metric), time, func.max(table.c.id))
    return rows.join(newest_of, same).where(has).group_by(device, time)
