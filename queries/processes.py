"""Statements on the processes that run."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, not_, or_, select

from models import Process
from queries.reader import Reader

GONE = timedelta(seconds=40)
"""A process that was not heard of for so long is gone."""


def declarations(reader: Reader, now: datetime) -> dict[str, str]:
    """The digest of its declarations for every process that runs, by its name."""
    query = select(Process.name, Process.declarations).where(_is_heard(now))
    return {row.name: row.declarations for row in reader.execute(query.order_by(Process.name))}


def leave(connection: Connection, name: str, now: datetime) -> None:
    """Delete a process, and those that are gone."""
    connection.execute(delete(Process).where(or_(Process.name == name, not_(_is_heard(now)))))


def beat(connection: Connection, name: str, declarations: str, now: datetime) -> None:
    """Write the row of a process; delete those of processes that are gone."""
    leave(connection, name, now)
    values = {"name": name, "declarations": declarations, "heartbeat_at": now}
    connection.execute(insert(Process).values(values))


def _is_heard(now: datetime) -> ColumnElement[bool]:
    # One that beat so far ahead of now did so before the clock was set back.
    return Process.heartbeat_at.between(now - GONE, now + GONE)
