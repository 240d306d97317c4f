"""Counts of messages, in the transaction that stores them."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

import queries.ingest_status
from database import Database, Replaced
from ingest.outcome import Outcome

Source = Literal["mqtt", "http"]
"""The transport that messages are received by."""


class OutcomeCounter:
    """Adds the outcome of a batch to the counts of its source."""

    def __init__(self, database: Database, source: Source) -> None:
        self._source = source
        self._ignored = queries.ingest_status.counting_ignored(database.upsert)

    def add(
        self,
        connection: Connection,
        outcome: Outcome,
        first: int,
        now: datetime,
        before: int | None,
    ) -> None:
        """Add an outcome with its first deliveries. Raises Replaced.

        `before` is how many first deliveries there were, if no other process changes that.
        """
        best_effort = outcome.best_effort() if self._source == "mqtt" else 0
        counts = outcome.counts() | {"best_effort": best_effort, "first_deliveries": first}
        added = queries.ingest_status.add(connection, self._source, counts, now, before)
        if outcome.received and not added:
            raise Replaced("it changed since this process last wrote to it")
        ignored = [
            {"source": self._source, "reason": reason, "count": count}
            for reason, count in outcome.ignored_counts()
        ]
        if ignored:
            connection.execute(self._ignored, ignored)
