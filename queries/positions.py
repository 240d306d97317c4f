"""Positions in a table of readings: from which id on something is new, whatever the clock has said meanwhile."""

from datetime import datetime, timedelta

from sqlalchemy import Table, func, select

from queries.reader import Reader
from queries.readings import newest_id
from utils import clock

MAX_CROSSING = 20_000
"""How many ids two transactions that cross each other may take."""


def written_at(reader: Reader, table: Table, reading_id: int) -> datetime:
    """When the reading with this id, or the last one before it, was stored; the beginning of time if there is none."""
    query = select(table.c.created_at).where(table.c.id <= reading_id).order_by(table.c.id.desc()).limit(1)
    return reader.execute(query).scalar() or datetime(1970, 1, 1)


def earliest_written(reader: Reader, table: Table, first: int, last: int) -> datetime:
    """The earliest time at which the reading with the id `first`, or one from there to `last`, was stored.

    Where the clock was set back that is not the time of the first. Of very many it is the beginning of time.
    """
    if last - first > MAX_CROSSING:
        return clock.EPOCH
    later = select(func.min(table.c.created_at)).where(table.c.id.between(first, last))
    stored = written_at(reader, table, first)
    return min(stored, reader.execute(later).scalar() or stored)


def first_uncertain(reader: Reader, table: Table, reading_id: int, around: timedelta) -> int:
    """The lowest id whose reading may have been committed after the one with this id was seen.

    Ids are given before the commit, so that what is stored at about the same time may come in another order.
    """
    stored = written_at(reader, table, reading_id)
    near = table.c.created_at.between(stored - around, stored + around)
    close = table.c.id.between(reading_id - MAX_CROSSING, reading_id)
    return reader.execute(select(func.min(table.c.id)).where(close, near)).scalar() or reading_id + 1


def soonest_after(reader: Reader, table: Table, timestamp: datetime) -> int:
    """The id of the reading that was stored soonest after a time, as the clock said; above the newest if none was."""
    query = select(table.c.id).where(table.c.created_at > timestamp).order_by(table.c.created_at, table.c.id).limit(1)
    return reader.execute(query).scalar() or newest_id(reader, table) + 1


def first_stored_after(
    reader: Reader,
    table: Table,
    timestamp: datetime,
    around: timedelta = timedelta(0),
    until: datetime | None = None,
) -> int:
    """The lowest id of the readings that were stored after a time, or at about the same time as that one.

    Where the clock was set back it is not the soonest: what was stored before that has a later time and a lower id.
    The index of times is read for all that was stored since; `until` leaves out what is dated later than that.
    """
    oldest = reader.execute(select(table.c.id, table.c.created_at).order_by(table.c.id).limit(1)).first()
    if oldest is not None and until is None and oldest.created_at > timestamp:
        return int(oldest.id)
    # For min(id), SQLite and PostgreSQL would walk through the table from its lowest id; for a sum they take the index.
    query = select(func.min(table.c.id + 0)).where(table.c.created_at > timestamp)
    if until is not None:
        query = query.where(table.c.created_at <= until)
    first = reader.execute(query).scalar()
    return newest_id(reader, table) + 1 if first is None else first_uncertain(reader, table, first, around)
