"""The states of the jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, delete, insert, select

from models import JobState
from queries.reader import Reader

_JOBS = JobState.metadata.tables["jobs"]


class JobReport(NamedTuple):
    """How the last run of a job ended."""

    name: str
    holder: str
    """The process that ran it."""
    ran_at: datetime
    error: str | None


def report(connection: Connection, latest: JobReport) -> None:
    """Keep a report, in the place of the one before; `failing_since` stays while a job fails. Raises DBAPIError."""
    before = connection.execute(select(_JOBS.c.failing_since).where(_JOBS.c.name == latest.name)).scalar()
    since = None if latest.error is None else before or latest.ran_at
    connection.execute(delete(_JOBS).where(_JOBS.c.name == latest.name))
    values = latest._asdict() | {"error": latest.error and latest.error[:500], "failing_since": since}
    connection.execute(insert(_JOBS).values(values))


def states(reader: Reader) -> Sequence[RowMapping]:
    """`name`, `holder`, `ran_at`, `error` and `failing_since` of every job that ever ran."""
    return reader.execute(select(_JOBS).order_by(_JOBS.c.name)).mappings().all()
