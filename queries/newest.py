"""Statements on the newest readings and on `newest_values`.

A reading stored while the server's clock was ahead lies in the future once the clock is right,
and by its timestamp would stay the newest until then. So readings from the future count only
where there are no others.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
)

import queries.devices
from device_models import NewestValue
from models import VERIFY_DEVICE
from queries.readings import TimeFilter, listed, shown, within
from queries.upserts import Upsert
from storage.dialect import Columns, literal
from streams.metric import Value
from utils import clock

QUARTER = timedelta(minutes=15)

_NEWEST = NewestValue.metadata.tables["newest_values"]


@lru_cache(maxsize=1024)
def _latest(table: Table, one_device: bool, metric: str | None, believed: bool) -> Select[Any]:
    # Cached, because building the statement takes longer than running it.
    end: BindParameter[datetime] | None = bindparam("future") if believed else None
    chosen = TimeFilter(bindparam("device_id") if one_device else None, end=end, metric=metric)
    if not one_device or metric is not None:
        # Read the index on timestamps backwards: MAX() over some of the rows would scan them all.
        query = listed(shown(table), table, chosen)
        return query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(1)
    newest = within(select(func.max(table.c.timestamp)), table, chosen).scalar_subquery()
    query = within(shown(table), table, chosen).where(table.c.timestamp == newest)
    return query.order_by(table.c.id.desc()).limit(1)


def latest(
    reader: Connection, table: Table, device_id: str | None = None, metric: str | None = None
) -> RowMapping | None:
    """Return the newest reading, or None.

    With `device_id`, of that device. With `metric`, of the readings with a value of that metric.
    """
    one_device = device_id is not None
    own = {"device_id": device_id} if one_device else {}
    row = reader.execute(_latest(table, one_device, metric, believed=False), own).mappings().first()
    # In nearly all cases this one query is enough.
    future = clock.future()
    if row is None or row["timestamp"] < future:
        return row
    believed = _latest(table, one_device, metric, believed=True)
    return reader.execute(believed, {**own, "future": future}).mappings().first() or row


def value(
    reader: Connection, stream: str, table: Table, device_id: str | None, metric: str
) -> RowMapping | None:
    """Return the newest reading with a value of an optional metric, or None.

    With `device_id`, of that device. `newest_values` has its id: for a metric that is rare or was
    never sent, a search would read the whole table.
    """
    own = (_NEWEST.c.stream == stream) & (_NEWEST.c.metric == metric)
    if device_id is None:
        own &= _NEWEST.c.device_id != VERIFY_DEVICE
    else:
        own &= _NEWEST.c.device_id == device_id
    by_time = _NEWEST.c.timestamp.desc(), _NEWEST.c.reading_id.desc()
    query = select(_NEWEST.c.reading_id).where(own).order_by(*by_time).limit(1)
    reading_id = reader.execute(query).scalar()
    if reading_id is None:
        return None
    row = reader.execute(shown(table).where(table.c.id == reading_id)).mappings().first()
    # Only a search can find an earlier reading than one from the future.
    if row is None or row["timestamp"] >= clock.future():
        return latest(reader, table, device_id, metric)
    return row


def of_heard_last(reader: Connection, stream: str, table: Table) -> RowMapping | None:
    """Return the newest reading of the device that was heard last, or None."""
    device_id = queries.devices.heard_last(reader, stream)
    return None if device_id is None else latest(reader, table, device_id)


def metrics(reader: Connection, stream: str, device_id: str) -> set[str]:
    """Return the optional metrics for which a device has ever sent a value."""
    own = (_NEWEST.c.stream == stream) & (_NEWEST.c.device_id == device_id)
    return set(reader.scalars(select(_NEWEST.c.metric).where(own)))


def values(
    reader: Connection, stream: str, table: Table, device_id: str
) -> dict[str, tuple[Value, datetime]]:
    """Return the newest value and its timestamp, by optional metric that the device ever sent."""
    own = (_NEWEST.c.stream == stream) & (_NEWEST.c.device_id == device_id)
    newest = reader.execute(select(_NEWEST.c.metric, _NEWEST.c.reading_id).where(own)).all()
    known = table.c.id.in_({row.reading_id for row in newest})
    by_id = {row["id"]: row for row in reader.execute(select(table).where(known)).mappings()}
    future = clock.future()
    found: dict[str, tuple[Value, datetime]] = {}
    for name, reading_id in newest:
        row = by_id.get(reading_id) if name in table.c else None
        if row is not None and row["timestamp"] >= future:
            row = latest(reader, table, device_id, name)
        if row is not None:
            found[name] = row[name], row["timestamp"]
    return found


def keeping(upsert: Upsert, future: datetime) -> Insert:
    """Return the upsert of rows of `newest_values`.

    A value with a timestamp at `future` or later is replaced by any earlier one.
    """
    # As a literal, because PyMySQL takes no parameters after the VALUES of many rows.
    limit: ColumnElement[datetime] = literal_column(literal(future))

    def merge(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
        # Of two readings with one timestamp, the one stored later is newer.
        later = incoming.timestamp >= stored.timestamp
        newer = or_(later, and_(stored.timestamp >= limit, incoming.timestamp < limit))
        return [
            ("reading_id", case((newer, incoming.reading_id), else_=stored.reading_id)),
            ("timestamp", case((newer, incoming.timestamp), else_=stored.timestamp)),
        ]

    return upsert(NewestValue, ("stream", "device_id", "metric"), merge)


def future_at(now: datetime) -> datetime:
    """Return from when on a timestamp lies in the future, for `keeping`.

    It is the start of a quarter of an hour, so that statements with it are cacheable.
    """
    return clock.EPOCH + ((now + clock.MAX_AHEAD - clock.EPOCH) // QUARTER + 1) * QUARTER


def forget(connection: Connection, stream: str, device_id: str) -> None:
    """Delete the newest values of a device of a stream."""
    own = (_NEWEST.c.stream == stream) & (_NEWEST.c.device_id == device_id)
    connection.execute(delete(_NEWEST).where(own))
