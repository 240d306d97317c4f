"""Statements on readings: functions of (reader, table, …) that return plain rows."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError

from models import VERIFY_DEVICE, Device, Presence
from queries.reader import Reader
from streams.stream import Stream
from utils import clock

SAMPLES_AT_ONCE = 5_000
LEFT_OUT = ("first_id", "last_id")
"""What `newest_of_each` says of the readings that it leaves out."""
METRICS_AT_ONCE = 500
TIMES_AT_ONCE = 100
HUGE = 1e290
"""So many more fit into the sum of a column that no table has as many."""
_DEVICES = Device.metadata.tables["devices"]
_PRESENCE = Presence.metadata.tables["presence"]


class TimeFilter(NamedTuple):
    """Which readings: of one device or all, with start ≤ timestamp < end, with a value of a metric or any."""

    device_id: str | BindParameter[str] | None = None
    start: datetime | BindParameter[datetime] | None = None
    end: datetime | BindParameter[datetime] | None = None
    metric: str | None = None


class RowRange(NamedTuple):
    """The readings with ids from `start` to `end`.

    With `later`, of those before the id `sure` only what was measured or stored after it.
    """

    start: int
    end: int
    later: datetime | None = None
    sure: int = 0


def within(query: Select[Any], table: Table, chosen: TimeFilter) -> Select[Any]:
    """A query of the readings that a filter takes."""
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
    """The same without the readings of `flask verify`, unless they are asked for by their device."""
    query = within(query, table, chosen)
    return query if chosen.device_id is not None else query.where(table.c.device_id != VERIFY_DEVICE)


def shown(table: Table) -> Select[Any]:
    """Readings with the columns that people get."""
    return select(*(column for column in table.columns if column.name != "fingerprint"))


def history(reader: Reader, table: Table, chosen: TimeFilter, limit: int, offset: int = 0) -> Sequence[RowMapping]:
    """A page of readings, newest first."""
    query = listed(shown(table), table, chosen)
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit).offset(offset)
    return reader.execute(query).mappings().all()


def stats(reader: Reader, stream: Stream, table: Table, chosen: TimeFilter) -> dict[str, Any]:
    """`count`, and `avg_`, `min_` and `max_` of every numeric metric; null where there is none, or it is too large."""
    names = [metric.name for metric in stream.metrics if metric.type == "number"]
    found: dict[str, Any] = {}
    # A statement has at most 1,664 columns in PostgreSQL, and 2,000 in SQLite.
    for first in range(0, len(names), METRICS_AT_ONCE) or [0]:
        some = names[first : first + METRICS_AT_ONCE]
        figures = _figures_or_none(reader, table, some, chosen)
        found |= _figures(reader, table, some, chosen, HUGE) if figures is None else figures
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in found.items()}


def _figures_or_none(reader: Reader, table: Table, names: Sequence[str], chosen: TimeFilter) -> dict[str, Any] | None:
    """The figures; None where a sum is too large for a number, which not every database calls infinite."""
    try:
        return _figures(reader, table, names, chosen)
    except DBAPIError:
        reader.rollback()
        return None


def _figures(
    reader: Reader, table: Table, names: Sequence[str], chosen: TimeFilter, limit: float | None = None
) -> dict[str, Any]:
    """The figures of some metrics; with a limit no average of those that have a larger value."""
    columns: list[Any] = [func.count().label("count")]
    for name in names:
        column = table.c[name]
        summed = func.sum(column if limit is None else case((column.between(-limit, limit), column)))
        # PostgreSQL's avg() squares the values and fails for 1e200.
        average = summed / func.nullif(func.count(column), 0)
        if limit is not None:
            average = case((and_(func.max(column) <= limit, func.min(column) >= -limit), average))
        figures = {"avg": average, "min": func.min(column), "max": func.max(column)}
        columns += [figure.label(f"{kind}_{name}") for kind, figure in figures.items()]
    query = listed(select(*columns).select_from(table), table, chosen)
    return dict(reader.execute(query).mappings().one())


def ml_data(
    reader: Reader, stream: Stream, table: Table, chosen: TimeFilter, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The newest `limit` samples, oldest first: timestamp, device id, then the metrics in the stream's order."""
    columns = [table.c.timestamp, table.c.device_id, *(table.c[metric.name] for metric in stream.metrics)]
    query = listed(select(*columns), table, chosen)
    rows = reader.execute(query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)).all()
    return rows[::-1]


def samples(reader: Reader, table: Table, names: Sequence[str], chosen: TimeFilter) -> Iterator[Row[*tuple[Any, ...]]]:
    """Timestamp and these metrics of each reading that has the first of them, oldest first; read as they are used."""
    columns = [table.c.timestamp, *(table.c[name] for name in names)]
    query = listed(select(*columns), table, chosen._replace(metric=names[0]))
    query = query.order_by(table.c.timestamp, table.c.id)
    yield from reader.execute(query, execution_options={"yield_per": SAMPLES_AT_ONCE})


def last_samples(reader: Reader, table: Table, chosen: TimeFilter, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Timestamp and value of the filter's metric in its newest readings, oldest first; it must name a metric."""
    query = listed(select(table.c.timestamp, table.c[str(chosen.metric)]), table, chosen)
    return reader.execute(query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)).all()[::-1]


def first_samples(reader: Reader, table: Table, chosen: TimeFilter, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """The same of its oldest readings."""
    query = listed(select(table.c.timestamp, table.c[str(chosen.metric)]), table, chosen)
    return reader.execute(query.order_by(table.c.timestamp, table.c.id).limit(limit)).all()


@lru_cache(maxsize=256)
def _newest_id(table: Table) -> Select[Any]:
    return select(func.max(table.c.id))


def newest_id(reader: Reader, table: Table) -> int:
    """The highest id among the readings; 0 where there is none."""
    return reader.execute(_newest_id(table)).scalar() or 0


def newest_of_each(
    reader: Reader, stream: Stream, table: Table, condition: ColumnElement[bool], known: int
) -> Sequence[RowMapping]:
    """Of the readings that meet a condition the newest of each device, by their timestamps; see `queries.newest`.

    Where each metric has a topic of its own, the newest of each device and metric. `first_id` and `last_id` are the
    lowest and the highest id above `known` of those that it was chosen from; null where none is above.
    """
    apart = [table.c[metric.name].is_(None) for metric in stream.metrics] if stream.topic.has_metric else []
    group = [table.c.device_id, *apart]
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
    reader: Reader, table: Table, device_id: str | None, stretch: RowRange, limit: int
) -> Sequence[RowMapping]:
    """The first readings of a stretch, of one device or of all, in the order in which they were stored."""
    query = within(shown(table), table, TimeFilter(device_id))
    query = query.where(table.c.id.between(stretch.start, stretch.end))
    if stretch.later is not None:
        later = or_(table.c.created_at > stretch.later, table.c.timestamp > stretch.later)
        query = query.where(or_(table.c.id >= stretch.sure, later))
    return reader.execute(query.order_by(table.c.id).limit(limit)).mappings().all()


def devices(reader: Reader, stream: str, table: Table) -> Sequence[RowMapping]:
    """Every device of a stream by device id: `first_seen`, `last_seen`, `last_heard`, and `online` or null."""
    own = table.c.device_id == _DEVICES.c.device_id
    first = select(func.min(table.c.timestamp)).where(own).scalar_subquery().correlate(_DEVICES)
    newest = select(func.max(table.c.timestamp)).where(own)
    believed = newest.where(table.c.timestamp < clock.future()).scalar_subquery().correlate(_DEVICES)
    last = func.coalesce(believed, newest.scalar_subquery().correlate(_DEVICES))
    columns = [_DEVICES.c.device_id, first.label("first_seen"), last.label("last_seen"), _DEVICES.c.last_heard]
    with_presence = _DEVICES.outerjoin(_PRESENCE, _PRESENCE.c.device_id == _DEVICES.c.device_id)
    query = select(*columns, _PRESENCE.c.online).select_from(with_presence)
    query = query.where(_DEVICES.c.stream == stream, _DEVICES.c.device_id != VERIFY_DEVICE)
    query = query.order_by(_DEVICES.c.device_id)
    return [row for row in reader.execute(query).mappings() if row["first_seen"] is not None]


@lru_cache(maxsize=256)
def _last_ids_of(table: Table) -> Select[Any]:
    new = table.c.created_at == bindparam("at")
    return select(table.c.device_id, func.max(table.c.id)).where(new).group_by(table.c.device_id)


def last_ids_of(reader: Reader, table: Table, at: datetime) -> dict[str, int]:
    """The highest id of each device among the readings that were stored at this moment."""
    return {row[0]: row[1] for row in reader.execute(_last_ids_of(table), {"at": at})}


def values_of(reader: Reader, table: Table, names: Sequence[str], at: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Id, device id, timestamp and these metrics of the readings stored at this moment, by their timestamps."""
    columns = [table.c.id, table.c.device_id, table.c.timestamp, *(table.c[name] for name in names)]
    query = select(*columns).where(table.c.created_at == at).order_by(table.c.timestamp, table.c.id)
    return reader.execute(query).all()


def stated(
    reader: Reader, table: Table, names: Sequence[str], times: Collection[tuple[str, datetime]]
) -> Iterator[tuple[str, datetime, tuple[Any, ...]]]:
    """Device id, time and these metrics of the readings whose devices have stated these times, believed or not."""
    metrics = [table.c[name] for name in names]
    own = select(table.c.device_id, table.c.timestamp, *metrics).where(table.c.device_timestamp.is_(None))
    other = select(table.c.device_id, table.c.device_timestamp, *metrics)
    ordered = sorted(times)
    for start in range(0, len(ordered), TIMES_AT_ONCE):
        some = ordered[start : start + TIMES_AT_ONCE]
        # SQLite finds no pair by an index where pairs are listed behind IN.
        pairs = [(table.c.device_id == device_id) & (table.c.timestamp == at) for device_id, at in some]
        believed = own.where(or_(*pairs))
        yield from ((device_id, at, tuple(values)) for device_id, at, *values in reader.execute(believed))
        texts = {clock.rfc3339(at): at for _, at in some}
        # By the time alone, so that a database does not walk through all readings of a device.
        for device_id, text, *values in reader.execute(other.where(table.c.device_timestamp.in_(sorted(texts)))):
            yield device_id, texts[text], tuple(values)


def has_reading(reader: Reader, table: Table, device_id: str, timestamp: datetime) -> bool:
    """Whether a device has a reading of this time."""
    own = (table.c.device_id == device_id) & (table.c.timestamp == timestamp)
    return reader.execute(select(table.c.id).where(own).limit(1)).first() is not None


def forget(connection: Connection, table: Table, device_id: str, but: int) -> None:
    """Delete the readings of a device, but for the one with this id."""
    own = (table.c.device_id == device_id) & (table.c.id != but)
    connection.execute(delete(table).where(own))
