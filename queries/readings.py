"""SELECTs of readings: functions of (reader, table, …) that return plain rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Row, RowMapping, Select, Table, and_, bindparam, func, or_, select

from models import Presence
from queries.reader import Reader
from streams.stream import Stream

SAMPLES_AT_ONCE = 5_000
_PRESENCE = Presence.metadata.tables["presence"]


class Window(NamedTuple):
    """Which readings: of one device or all, with start ≤ timestamp < end, with a value of a metric or any."""

    device_id: str | BindParameter[str] | None = None
    start: datetime | None = None
    end: datetime | None = None
    metric: str | None = None


class Stretch(NamedTuple):
    """The readings up to the id `end` that were stored after a time; of those of that time itself, after an id.

    With `later` only those whose own time or time of storing is after it.
    """

    created_at: datetime
    id: int
    end: int
    later: datetime | None = None


def _within(query: Select[Any], table: Table, window: Window) -> Select[Any]:
    if window.device_id is not None:
        query = query.where(table.c.device_id == window.device_id)
    if window.start is not None:
        query = query.where(table.c.timestamp >= window.start)
    if window.end is not None:
        query = query.where(table.c.timestamp < window.end)
    if window.metric is not None:
        query = query.where(table.c[window.metric].is_not(None))
    return query


def _public(table: Table) -> Select[Any]:
    return select(*(column for column in table.columns if column.name != "fingerprint"))


@lru_cache(maxsize=256)
def _latest(table: Table, one_device: bool) -> Select[Any]:
    # Kept, because building the statement takes longer than running it.
    window = Window(bindparam("device_id")) if one_device else Window()
    newest = _within(select(func.max(table.c.timestamp)), table, window).scalar_subquery()
    query = _within(_public(table), table, window).where(table.c.timestamp == newest)
    return query.order_by(table.c.id.desc()).limit(1)


def latest(reader: Reader, table: Table, device_id: str | None = None) -> RowMapping | None:
    """The newest reading, of one device or of all, or None."""
    if device_id is None:
        return reader.execute(_latest(table, one_device=False)).mappings().first()
    return reader.execute(_latest(table, one_device=True), {"device_id": device_id}).mappings().first()


def history(reader: Reader, table: Table, window: Window, limit: int, offset: int = 0) -> Sequence[RowMapping]:
    """A page of readings, newest first."""
    query = _within(_public(table), table, window)
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit).offset(offset)
    return reader.execute(query).mappings().all()


def stats(reader: Reader, stream: Stream, table: Table, window: Window) -> RowMapping:
    """`count`, and `avg_`, `min_` and `max_` of every numeric metric; null where there is none."""
    columns: list[Any] = [func.count().label("count")]
    for metric in stream.metrics:
        if metric.type == "number":
            column = table.c[metric.name]
            # PostgreSQL's avg() squares the values and fails for 1e200.
            average = func.sum(column) / func.nullif(func.count(column), 0)
            figures = {"avg": average, "min": func.min(column), "max": func.max(column)}
            columns += [figure.label(f"{name}_{metric.name}") for name, figure in figures.items()]
    query = _within(select(*columns).select_from(table), table, window)
    return reader.execute(query).mappings().one()


def ml_data(
    reader: Reader, stream: Stream, table: Table, window: Window, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The newest `limit` samples, oldest first: timestamp, device id, then the metrics in the stream's order."""
    columns = [table.c.timestamp, table.c.device_id, *(table.c[metric.name] for metric in stream.metrics)]
    query = _within(select(*columns), table, window)
    rows = reader.execute(query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)).all()
    return rows[::-1]


def samples(reader: Reader, table: Table, names: Sequence[str], window: Window) -> Iterator[Row[*tuple[Any, ...]]]:
    """Timestamp and these metrics of each reading that has the first of them, oldest first; read as they are used."""
    columns = [table.c.timestamp, *(table.c[name] for name in names)]
    query = _within(select(*columns), table, window._replace(metric=names[0]))
    query = query.order_by(table.c.timestamp, table.c.id)
    yield from reader.execute(query, execution_options={"yield_per": SAMPLES_AT_ONCE})


def last_sample(reader: Reader, table: Table, window: Window) -> Row[*tuple[Any, ...]] | None:
    """Timestamp and value of the window's metric in its newest reading, or None. The window must name a metric."""
    query = _within(select(table.c.timestamp, table.c[str(window.metric)]), table, window)
    return reader.execute(query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(1)).first()


def first_sample(reader: Reader, table: Table, window: Window) -> Row[*tuple[Any, ...]] | None:
    """The same of its oldest reading."""
    query = _within(select(table.c.timestamp, table.c[str(window.metric)]), table, window)
    return reader.execute(query.order_by(table.c.timestamp, table.c.id).limit(1)).first()


def newest_id(reader: Reader, table: Table) -> int:
    """The highest id among the readings; 0 where there is none."""
    return reader.execute(select(func.max(table.c.id))).scalar() or 0


def written_at(reader: Reader, table: Table, reading_id: int) -> datetime:
    """When the reading with this id, or the last one before it, was stored; the beginning of time if there is none."""
    query = select(table.c.created_at).where(table.c.id <= reading_id).order_by(table.c.id.desc()).limit(1)
    return reader.execute(query).scalar() or datetime(1970, 1, 1)


def newest_of_each(
    reader: Reader, stream: Stream, table: Table, condition: ColumnElement[bool]
) -> Sequence[RowMapping]:
    """Of the readings that meet a condition the newest of each device, by their timestamps.

    Where each metric has a topic of its own, the newest of each device and metric.
    """
    apart = [table.c[metric.name].is_(None) for metric in stream.metrics] if stream.topic.has_metric else []
    place = func.row_number().over(
        partition_by=[table.c.device_id, *apart], order_by=[table.c.timestamp.desc(), table.c.id.desc()]
    )
    ranked = _public(table).add_columns(place.label("place_of_reading")).where(condition).subquery()
    columns = [column for column in ranked.c if column.name != "place_of_reading"]
    query = select(*columns).where(ranked.c.place_of_reading == 1).order_by(ranked.c.id)
    return reader.execute(query).mappings().all()


def readings_after(
    reader: Reader, table: Table, device_id: str | None, stretch: Stretch, limit: int
) -> Sequence[RowMapping]:
    """The first readings of a stretch, of one device or of all, in the order in which they were stored."""
    query = _within(_public(table), table, Window(device_id)).where(table.c.id <= stretch.end)
    same = and_(table.c.created_at == stretch.created_at, table.c.id > stretch.id)
    query = query.where(or_(table.c.created_at > stretch.created_at, same))
    if stretch.later is not None:
        query = query.where(or_(table.c.created_at > stretch.later, table.c.timestamp > stretch.later))
    return reader.execute(query.order_by(table.c.created_at, table.c.id).limit(limit)).mappings().all()


def devices(reader: Reader, table: Table) -> Sequence[RowMapping]:
    """Every device by device id: `first_seen` and `last_seen` of its readings, `online` or null.

    The recursion hops from one device id to the next on the index, so that the cost grows with the
    number of devices, not of readings.
    """
    ids = select(func.min(table.c.device_id).label("device_id")).cte("ids", recursive=True)
    following = (
        select(func.min(table.c.device_id)).where(table.c.device_id > ids.c.device_id).scalar_subquery().correlate(ids)
    )
    ids = ids.union_all(select(following).where(ids.c.device_id.is_not(None)))
    own = table.c.device_id == ids.c.device_id
    first = select(func.min(table.c.timestamp)).where(own).scalar_subquery().correlate(ids)
    last = select(func.max(table.c.timestamp)).where(own).scalar_subquery().correlate(ids)
    online = select(_PRESENCE.c.online).where(_PRESENCE.c.device_id == ids.c.device_id).scalar_subquery().correlate(ids)
    query = select(ids.c.device_id, first.label("first_seen"), last.label("last_seen"), online.label("online"))
    return reader.execute(query.where(ids.c.device_id.is_not(None)).order_by(ids.c.device_id)).mappings().all()
