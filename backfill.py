"""Backfill: fill in columns and rows for readings stored by an earlier version or declaration.

For each stream, in the transaction that upgrades the schema, this fills in the keys of the newest
readings, so that messages still held by the broker are not stored twice; the devices; and the
newest values.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, case, delete, func, insert, literal, select, update

from models import Device, NewestValue, StreamState
from streams.reading_key import ReadingKey
from streams.registry import Streams
from streams.stream import Stream

logger = logging.getLogger(__name__)
REKEYED_ROWS = 100_000
"""The newest readings of a stream that get new keys; a broker holds no more messages than that."""
CHUNK = 500
_STATES = StreamState.metadata.tables["stream_states"]
_DEVICES = Device.metadata.tables["devices"]
_NEWEST = NewestValue.metadata.tables["newest_values"]


def bring_up_to_date(connection: Connection, streams: Streams, tables: Mapping[str, Table]) -> None:
    """Fill in the missing rows and keys of each stream that has a table. Raises DBAPIError."""
    states = {row.stream: row for row in connection.execute(select(_STATES))}
    for stream in (stream for stream in streams if stream.name in tables):
        lackable = [metric.name for metric in stream.lackable]
        state = states.get(stream.name)
        if state is None or state.table_name != stream.table:
            _begin(connection, stream, tables[stream.name], lackable)
        elif set(lackable) != (kept := set(state.newest_of.split())):
            _fill_newest(connection, stream.name, tables[stream.name], sorted(set(lackable) - kept))
            connection.execute(_state(stream, lackable))


def _begin(connection: Connection, stream: Stream, table: Table, lackable: Sequence[str]) -> None:
    for kept in (_DEVICES, _NEWEST):
        connection.execute(delete(kept).where(kept.c.stream == stream.name))
    rekeyed = 0
    if connection.execute(select(table.c.id).limit(1)).first() is not None:
        rekeyed = _rekey(connection, table, ReadingKey([metric.name for metric in stream.metrics]))
        _fill_devices(connection, stream.name, table)
        _fill_newest(connection, stream.name, table, lackable)
    connection.execute(delete(_STATES).where(_STATES.c.stream == stream.name))
    values = {"stream": stream.name, "table_name": stream.table, "newest_of": " ".join(lackable)}
    connection.execute(insert(_STATES).values(values))
    if rekeyed:
        logger.info(
            "The newest %d readings of %s now have the keys of this version", rekeyed, stream.name
        )


def _state(stream: Stream, lackable: Sequence[str]) -> Any:
    statement = update(_STATES).where(_STATES.c.stream == stream.name)
    return statement.values(newest_of=" ".join(lackable))


def _rekey(connection: Connection, table: Table, key: ReadingKey) -> int:
    """Update the keys of the newest rows; if two become equal, the later row keeps its old key.

    Return how many keys were updated.
    """
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


def _newest_rows(connection: Connection, table: Table) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """Yield the newest rows with their metrics, oldest first, in chunks."""
    own = ("id", "device_id", "timestamp", "fingerprint")
    others = (*own, "device_timestamp", "created_at")
    columns = [table.c[name] for name in own]
    columns += [column for column in table.c if column.name not in others]
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
    last_ids = select(table.c.device_id, func.max(table.c.id).label("id"))
    last = last_ids.group_by(table.c.device_id).subquery()
    rows = select(literal(stream), table.c.device_id, table.c.id, table.c.created_at)
    rows = rows.join(last, last.c.id == table.c.id)
    names = ["stream", "device_id", "last_id", "last_heard"]
    connection.execute(insert(_DEVICES).from_select(names, rows))


def _fill_newest(connection: Connection, stream: str, table: Table, metrics: Sequence[str]) -> None:
    for name in metrics:
        own = (_NEWEST.c.stream == stream) & (_NEWEST.c.metric == name)
        connection.execute(delete(_NEWEST).where(own))
        has = table.c[name].is_not(None)
        newest_times = select(table.c.device_id, func.max(table.c.timestamp).label("timestamp"))
        newest = newest_times.where(has).group_by(table.c.device_id).subquery()
        same = (newest.c.device_id == table.c.device_id) & (newest.c.timestamp == table.c.timestamp)
        rows = select(
            literal(stream),
            table.c.device_id,
            literal(name),
            table.c.timestamp,
            func.max(table.c.id),
        )
        rows = rows.join(newest, same).where(has).group_by(table.c.device_id, table.c.timestamp)
        names = ["stream", "device_id", "metric", "timestamp", "reading_id"]
        connection.execute(insert(_NEWEST).from_select(names, rows))
