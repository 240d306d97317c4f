"""SELECTs of the processes that run."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select

from models import Process
from queries.reader import Reader


def declarations(reader: Reader, now: datetime, gone: timedelta) -> dict[str, str]:
    """The digest of its declarations for every process that runs, by its name."""
    query = select(Process.name, Process.declarations).where(is_heard(now, gone)).order_by(Process.name)
    return {row.name: row.declarations for row in reader.execute(query)}


def is_heard(now: datetime, gone: timedelta) -> ColumnElement[bool]:
    """Whether a process was heard of lately; one that beat so far ahead of now did so before the clock was set back."""
    return Process.heartbeat_at.between(now - gone, now + gone)
