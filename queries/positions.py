"""Statements that find the id from which readings are new, even if the clock was changed."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, func, select

from queries.readings import newest_id
from utils import clock

MAX_CROSSING = 20_000
"""How many ids two concurrent transactions may take."""


def written_at(reader: Connection, table: Table, reading_id: int) -> datetime:
    """Return when the reading with this id, or the last one before it, was stored.

    Without such a reading, return 1970-01-01.
    """
    query = select(table.c.created_at).where(table.c.id <= reading_id)
    query = query.order_by(table.c.id.desc()).limit(1)
    return reader.execute(query).scalar() or clock.EPOCH


def earliest_written(reader: Connection, table: Table, first: int, last: int) -> datetime:
    """Return the earliest time at which a reading with an id from `first` to `last` was stored.

    If the clock was set back, this is not the time of the first. For more than MAX_CROSSING ids,
    return 1970-01-01.
    """
    if last - first > MAX_CROSSING:
        return clock.EPOCH
    later = select(func.min(table.c.created_at)).where(table.c.id.between(first, last))
    stored = written_at(reader, table, first)
    return min(stored, reader.execute(later).scalar() or stored)


def first_uncertain(reader: Connection, table: Table, reading_id: int, around: timedelta) -> int:
    """Return the lowest id whose reading may have been committed after this one was seen.

    Ids are assigned before the commit, so concurrent transactions may commit in another order.
    """
    stored = written_at(reader, table, reading_id)
    near = table.c.created_at.between(stored - around, stored + around)
    close = table.c.id.between(reading_id - MAX_CROSSING, reading_id)
    lowest = select(func.min(table.c.id)).where(close, near)
    return reader.execute(lowest).scalar() or reading_id + 1


def soonest_after(reader: Connection, table: Table, timestamp: datetime) -> int:
    """Return the id of the first reading stored after a time by the clock.

    Without one, return the newest id + 1.
    """
    query = select(table.c.id).where(table.c.created_at > timestamp)
    query = query.order_by(table.c.created_at, table.c.id).limit(1)
    return reader.execute(query).scalar() or newest_id(reader, table) + 1


def first_stored_after(
    reader: Connection,
    table: Table,
    timestamp: datetime,
    around: timedelta = timedelta(0),
    until: datetime | None = None,
) -> int:
    """Return the lowest id of the readings stored after a time, or within `around` of the first.

    If the clock was set back, readings from before that have a later time and a lower id. The
    query reads the index of all times after `timestamp`, or up to `until` if given.
    """
    by_id = select(table.c.id, table.c.created_at).order_by(table.c.id)
    oldest = reader.execute(by_id.limit(1)).first()
    if oldest is not None and until is None and oldest.created_at > timestamp:
        return int(oldest.id)
    # For MIN(id), SQLite and PostgreSQL scan from the lowest id; for a sum they use the index.
    query = select(func.min(table.c.id + 0)).where(table.c.created_at > timestamp)
    if until is not None:
        query = query.where(table.c.created_at <= until)
    first = reader.execute(query).scalar()
    if first is None:
        return newest_id(reader, table) + 1
    return first_uncertain(reader, table, first, around)
