"""Statements on `ingest_status`: the counts and the heartbeat of each source (`mqtt`, `http`)."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Update, bindparam, select, update

from models import EMPTY, RETAINED, IgnoredCount, IngestStatus
from queries.upserts import Upsert, counting

COUNTED = (
    "received",
    "stored",
    "duplicate",
    "rejected",
    "ignored",
    "best_effort",
    "values_left_out",
    "readings_stored",
    "readings_duplicate",
    "readings_rejected",
    "first_deliveries",
)
_STATUS = IngestStatus.metadata.tables["ingest_status"]


def ingest_status(reader: Connection) -> dict[str, IngestStatus]:
    """Return the state of every source, by name."""
    rows = reader.execute(select(_STATUS)).mappings()
    return {row["source"]: IngestStatus(**row) for row in rows}


def first_deliveries(reader: Connection, source: str) -> int:
    """Return how many messages of a source were ever delivered for the first time."""
    query = select(_STATUS.c.first_deliveries).where(_STATUS.c.source == source)
    found: int = reader.execute(query).scalar_one()
    return found


def ignored_counts(reader: Connection, source: str) -> dict[str, int]:
    """Return how many messages of a source were ever ignored, by reason; unused reasons are 0."""
    query = select(IgnoredCount.reason, IgnoredCount.count).where(IgnoredCount.source == source)
    counts = reader.execute(query.order_by(IgnoredCount.reason))
    return {RETAINED: 0, EMPTY: 0} | dict(counts.all())


def counting_ignored(upsert: Upsert) -> Insert:
    """Return the upsert of `source`, `reason` and `count` that adds to the ignored messages."""
    return counting(upsert, IgnoredCount, ("source", "reason"))


def add(
    connection: Connection,
    source: str,
    counts: Mapping[str, int],
    now: datetime,
    before: int | None,
) -> bool:
    """Add the counts of a batch, one for each of `COUNTED`; return whether a row was updated.

    With `before`, update only if `first_deliveries` equals it. No other process changes that
    count, so another number means another database, such as a restored backup.
    """
    values = {"source_": source, "now": now}
    values |= {f"more_{name}": counts[name] for name in COUNTED}
    if before is not None:
        values["before"] = before
    return bool(connection.execute(_adding(alone=before is not None), values).rowcount)


def write(connection: Connection, source: str, values: Mapping[str, Any]) -> None:
    """Update the other columns of a source."""
    connection.execute(update(_STATUS).where(_STATUS.c.source == source).values(dict(values)))


@lru_cache(maxsize=2)
def _adding(*, alone: bool) -> Update:
    # Cached, because building the statement takes longer than running it.
    more = {name: _STATUS.c[name] + bindparam(f"more_{name}") for name in COUNTED}
    statement = update(_STATUS).where(_STATUS.c.source == bindparam("source_"))
    if alone:
        statement = statement.where(_STATUS.c.first_deliveries == bindparam("before"))
    return statement.values(**more, last_batch_at=bindparam("now"))
