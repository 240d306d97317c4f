"""Quality: what is kept of stored readings that lack a value of an optional metric."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

import queries.quality
from database import Database
from ingest.message import Reading, Rejection, shared_device

NAMED = 5
"""Errors that are named for a message; it can have thousands."""


class QualityWriter:
    """Counts the missing and unreadable values of each device and metric."""

    def __init__(self, database: Database) -> None:
        self._counting = queries.quality.counting_faults(database.upsert)

    def write(self, connection: Connection, stored: Iterable[Reading], now: datetime) -> None:
        """Count the faults of new readings within a transaction. Raises DBAPIError."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for reading in stored:
            for fault in reading.faults:
                key = reading.stream.name, reading.device_id, fault.metric
                row = rows.setdefault(key, _unfaulted(*key))
                row["missing" if fault.is_missing else "unreadable"] += 1
                row.update(last_example=fault.example, last_at=now)
        of_metrics = [rows[key] for key in sorted(rows) if key[-1]]
        if of_metrics:
            queries.quality.add(connection, self._counting, of_metrics)


def _unfaulted(stream: str, device_id: str, metric: str) -> dict[str, Any]:
    own = {"stream": stream, "device_id": device_id, "metric": metric}
    return own | {"missing": 0, "unreadable": 0}


def partly_read(stored: Iterable[Reading]) -> list[Rejection]:
    """Return a record of each message of which a value could not be read, to keep its bytes.

    The broker still has the bytes of a retained message. One without a time of its own, where the
    stream stores such, would be kept again at every connection.
    """
    by_message: defaultdict[int, list[Reading]] = defaultdict(list)
    for reading in stored:
        if reading.unread and (reading.own_time or not reading.message.retained):
            by_message[id(reading.message)].append(reading)
    return [_record(readings) for readings in by_message.values()]


def _record(readings: Sequence[Reading]) -> Rejection:
    first = readings[0]
    errors = [error for reading in readings for error in reading.unread]
    text = "; ".join(errors[:NAMED])
    if len(errors) > NAMED:
        text = f"{text}; {len(errors) - NAMED} more"
    device_id, count = shared_device(readings), len(readings)
    return Rejection(first.stream.name, "partly_read", text, first.message, device_id, count)
