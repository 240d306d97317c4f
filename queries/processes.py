"""Statements on `processes`: the running processes and their heartbeats."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, not_, or_, select

from models import Process

GONE = timedelta(seconds=40)
"""A process without a heartbeat for this long is gone."""


def declarations(reader: Connection, now: datetime) -> dict[str, str]:
    """Return the digest of the declarations of each running process, by its name."""
    query = select(Process.name, Process.declarations).where(_is_heard(now))
    return {row.name: row.declarations for row in reader.execute(query.order_by(Process.name))}


def leave(connection: Connection, name: str, now: datetime) -> None:
    """Delete a process, and all processes that are gone."""
    connection.execute(delete(Process).where(or_(Process.name == name, not_(_is_heard(now)))))


def beat(connection: Connection, name: str, declarations: str, now: datetime) -> None:
    """Write the heartbeat of a process, and delete all processes that are gone."""
    leave(connection, name, now)
    values = {"name": name, "declarations": declarations, "heartbeat_at": now}
    connection.execute(insert(Process).values(values))


def _is_heard(now: datetime) -> ColumnElement[bool]:
    # A heartbeat further ahead is from before the clock was set back.
    return Process.heartbeat_at.between(now - GONE, now + GONE)
