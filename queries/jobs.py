"""Statements on `jobs`: how the last run of each job ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, delete, insert, select

from models import MAX_MESSAGE, JobState

_JOBS = JobState.metadata.tables["jobs"]


class JobReport(NamedTuple):
    """The result of the last run of a job."""

    name: str
    holder: str
    """The process that ran the job."""
    ran_at: datetime
    error: str | None


def report(connection: Connection, latest: JobReport) -> None:
    """Replace the last report of a job; `failing_since` stays while it fails. Raises DBAPIError."""
    query = select(_JOBS.c.failing_since).where(_JOBS.c.name == latest.name)
    before = connection.execute(query).scalar()
    since = None if latest.error is None else before or latest.ran_at
    connection.execute(delete(_JOBS).where(_JOBS.c.name == latest.name))
    values = latest._asdict() | {
        "error": latest.error and latest.error[:MAX_MESSAGE],
        "failing_since": since,
    }
    connection.execute(insert(_JOBS).values(values))


def states(reader: Connection) -> Sequence[RowMapping]:
    """Return `name`, `holder`, `ran_at`, `error` and `failing_since` of every job that ever ran."""
    return reader.execute(select(_JOBS).order_by(_JOBS.c.name)).mappings().all()
