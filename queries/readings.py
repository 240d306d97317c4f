"""Statements on readings; each takes the table of a stream and returns plain rows."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Select,
    Table,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
)

import queries.presence
from device_models import Device
from models import VERIFY_DEVICE
from streams.stream import Stream
from utils import clock

SAMPLES_AT_ONCE = 5_000
LEFT_OUT = ("first_id", "last_id")
"""The columns in which `newest_of_each` names the readings that it leaves out."""
TIMES_AT_ONCE = 100
_DEVICES = Device.metadata.tables["devices"]


RowKey = tuple[str, datetime, int]
"""Device id, timestamp and fingerprint, which identify a reading."""


class TimeFilter(NamedTuple):
    """A filter on readings: device, start ≤ timestamp < end, and a metric that has a value."""

    device_id: str | BindParameter[str] | None = None
    start: datetime | BindParameter[datetime] | None = None
    end: datetime | BindParameter[datetime] | None = None
    metric: str | None = None


class RowRange(NamedTuple):
    """The readings with ids from `start` to `end`.

    With `later`, readings below the id `sure` must be measured or stored after that time.
    """

    start: int
    end: int
    later: datetime | None = None
    sure: int = 0


def within(query: Select[Any], table: Table, chosen: TimeFilter) -> Select[Any]:
    """Restrict a query to the readings that match a filter."""
    if chosen.device_id is not None:
        query = query.where(table.c.device_id == chosen.device_id)
    if chosen.start is not None:
        query = query.where(table.c.timestamp >= chosen.start)
    if chosen.end is not None:
        query = query.where(table.c.timestamp < chosen.end)
    if chosen.metric is not None:
        query = query.where(table.c[chosen.metric].is_not(None))
    return query


def listed(query: Select[Any], table: Table, chosen: TimeFilter) -> Select[Any]:
    """Do the same, without the readings of `flask verify` unless the filter names their device."""
    query = within(query, table, chosen)
    if chosen.device_id is not None:
        return query
    return query.where(table.c.device_id != VERIFY_DEVICE)


def shown(table: Table) -> Select[Any]:
    """Select readings with the public columns."""
    return select(*(column for column in table.columns if column.name != "fingerprint"))


def history(
    reader: Connection, table: Table, chosen: TimeFilter, limit: int, offset: int = 0
) -> Sequence[RowMapping]:
    """Return a page of readings, newest first."""
    query = listed(shown(table), table, chosen)
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit).offset(offset)
    return reader.execute(query).mappings().all()


def ml_data(
    reader: Connection, stream: Stream, table: Table, chosen: TimeFilter, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the newest `limit` samples, oldest first.

    A sample is timestamp, device id, the metrics in the stream's order, and `rest` if it is kept.
    """
    metrics = [table.c[metric.name] for metric in stream.metrics]
    if stream.keeps_rest:
        metrics.append(table.c.rest)
    query = listed(select(table.c.timestamp, table.c.device_id, *metrics), table, chosen)
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)
    return reader.execute(query).all()[::-1]


def samples(
    reader: Connection, table: Table, names: Sequence[str], chosen: TimeFilter
) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield timestamp and metrics of each reading with a value of the first metric, oldest first.

    The rows are fetched as they are consumed.
    """
    columns = [table.c.timestamp, *(table.c[name] for name in names)]
    query = listed(select(*columns), table, chosen._replace(metric=names[0]))
    query = query.order_by(table.c.timestamp, table.c.id)
    yield from reader.execute(query, execution_options={"yield_per": SAMPLES_AT_ONCE})


def last_samples(
    reader: Connection, table: Table, chosen: TimeFilter, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return timestamp and value of the newest readings that match, oldest first.

    The value is that of the filter's metric, which is required.
    """
    query = listed(select(table.c.timestamp, table.c[str(chosen.metric)]), table, chosen)
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)
    return reader.execute(query).all()[::-1]


def first_samples(
    reader: Connection, table: Table, chosen: TimeFilter, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the same for the oldest readings that match."""
    query = listed(select(table.c.timestamp, table.c[str(chosen.metric)]), table, chosen)
    return reader.execute(query.order_by(table.c.timestamp, table.c.id).limit(limit)).all()


@lru_cache(maxsize=256)
def _newest_id(table: Table) -> Select[Any]:
    return select(func.max(table.c.id))


def newest_id(reader: Connection, table: Table) -> int:
    """Return the highest id of a reading, or 0."""
    return reader.execute(_newest_id(table)).scalar() or 0


def newest_of_each(
    reader: Connection, stream: Stream, table: Table, condition: ColumnElement[bool], known: int
) -> Sequence[RowMapping]:
    """Of the readings that meet a condition, return the newest one of each device.

    Newest is by timestamp; see `queries.newest`. Where each metric has a topic of its own, return
    the newest reading of each device and metric. `first_id` and `last_id` are the lowest and the
    highest id above `known` in its group, or null.
    """
    group: list[ColumnElement[Any]] = [table.c.device_id]
    if stream.topic.has_metric:
        group += [table.c[metric.name].is_(None) for metric in stream.metrics]
    order = [table.c.timestamp >= clock.future(), table.c.timestamp.desc(), table.c.id.desc()]
    rank = func.row_number().over(partition_by=group, order_by=order).label("rank")
    new = case((table.c.id > known, table.c.id))
    lowest, highest = (figure.over(partition_by=group) for figure in (func.min(new), func.max(new)))
    ends = [end.label(name) for name, end in zip(LEFT_OUT, (lowest, highest), strict=True)]
    ranked = shown(table).add_columns(rank, *ends).where(condition).subquery()
    columns = [column for column in ranked.c if column.name != "rank"]
    query = select(*columns).where(ranked.c.rank == 1).order_by(ranked.c.id)
    return reader.execute(query).mappings().all()


def readings_of(
    reader: Connection, table: Table, device_id: str | None, rows: RowRange, limit: int
) -> Sequence[RowMapping]:
    """Return the first readings of a range, of one device or of all, in the order of their ids."""
    query = within(shown(table), table, TimeFilter(device_id))
    query = query.where(table.c.id.between(rows.start, rows.end))
    if rows.later is not None:
        later = or_(table.c.created_at > rows.later, table.c.timestamp > rows.later)
        query = query.where(or_(table.c.id >= rows.sure, later))
    return reader.execute(query.order_by(table.c.id).limit(limit)).mappings().all()


def devices(
    reader: Connection, stream: str, table: Table, *, has_presence: bool = False
) -> Sequence[RowMapping]:
    """Return every device of a stream, in the order of the ids.

    Each row has `device_id`, `first_seen`, `last_seen`, `last_heard`, and `online` or null. With
    `has_presence`, the stream has a topic of presence, and what was said there counts too.
    """
    own = table.c.device_id == _DEVICES.c.device_id
    first = select(func.min(table.c.timestamp)).where(own).scalar_subquery().correlate(_DEVICES)
    newest = select(func.max(table.c.timestamp)).where(own)
    believed = newest.where(table.c.timestamp < clock.future())
    last = func.coalesce(
        believed.scalar_subquery().correlate(_DEVICES),
        newest.scalar_subquery().correlate(_DEVICES),
    )
    heard_in = ["", stream] if has_presence else [""]
    online = queries.presence.online_in(heard_in, _DEVICES.c.device_id).correlate(_DEVICES)
    query = select(
        _DEVICES.c.device_id,
        first.label("first_seen"),
        last.label("last_seen"),
        _DEVICES.c.last_heard,
        online.label("online"),
    )
    query = query.where(_DEVICES.c.stream == stream, _DEVICES.c.device_id != VERIFY_DEVICE)
    query = query.order_by(_DEVICES.c.device_id)
    return [row for row in reader.execute(query).mappings() if row["first_seen"] is not None]


@lru_cache(maxsize=256)
def _last_ids_of(table: Table) -> Select[Any]:
    new = table.c.created_at == bindparam("at")
    return select(table.c.device_id, func.max(table.c.id)).where(new).group_by(table.c.device_id)


def last_ids_of(reader: Connection, table: Table, at: datetime) -> dict[str, int]:
    """Return the highest id of each device among the readings with this `created_at`."""
    return {row[0]: row[1] for row in reader.execute(_last_ids_of(table), {"at": at})}


def keys_of(reader: Connection, table: Table, at: datetime) -> set[RowKey]:
    """Return the keys of the readings with this `created_at`."""
    query = select(table.c.device_id, table.c.timestamp, table.c.fingerprint)
    return {
        (row[0], row[1], row[2]) for row in reader.execute(query.where(table.c.created_at == at))
    }


def values_of(
    reader: Connection, table: Table, names: Sequence[str], at: datetime
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return id, device id, timestamp and metrics of the readings with this `created_at`.

    They are in the order of their timestamps.
    """
    columns = [table.c.id, table.c.device_id, table.c.timestamp, *(table.c[name] for name in names)]
    query = select(*columns).where(table.c.created_at == at).order_by(table.c.timestamp, table.c.id)
    return reader.execute(query).all()


def stated(
    reader: Connection, table: Table, names: Sequence[str], times: Collection[tuple[str, datetime]]
) -> Iterator[tuple[str, datetime, tuple[Any, ...]]]:
    """Yield device id, time and metrics of the readings whose devices stated one of the times.

    A stated time is in `device_timestamp` where it was not believed, otherwise in `timestamp`.
    """
    metrics = [table.c[name] for name in names]
    own = select(table.c.device_id, table.c.timestamp, *metrics).where(
        table.c.device_timestamp.is_(None)
    )
    other = select(table.c.device_id, table.c.device_timestamp, *metrics)
    ordered = sorted(times)
    for start in range(0, len(ordered), TIMES_AT_ONCE):
        some = ordered[start : start + TIMES_AT_ONCE]
        # SQLite uses no index for pairs listed in IN.
        pairs = [
            (table.c.device_id == device_id) & (table.c.timestamp == at) for device_id, at in some
        ]
        for device_id, at, *values in reader.execute(own.where(or_(*pairs))):
            yield device_id, at, tuple(values)
        # By time alone, so that the database does not read all readings of a device.
        texts = {clock.rfc3339(at): at for _, at in some}
        unbelieved = other.where(table.c.device_timestamp.in_(sorted(texts)))
        for device_id, text, *values in reader.execute(unbelieved):
            yield device_id, texts[text], tuple(values)


def has_reading(reader: Connection, table: Table, device_id: str, timestamp: datetime) -> bool:
    """Return whether a device has a reading with this timestamp."""
    own = (table.c.device_id == device_id) & (table.c.timestamp == timestamp)
    return reader.execute(select(table.c.id).where(own).limit(1)).first() is not None


def forget(connection: Connection, table: Table, device_id: str, but: int) -> None:
    """Delete the readings of a device, except the one with the id `but`."""
    own = (table.c.device_id == device_id) & (table.c.id != but)
    connection.execute(delete(table).where(own))
