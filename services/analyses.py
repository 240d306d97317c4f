"""Publish the health analysis of every committed reading, and the state of the backend.

The process that holds the lease reads the rows stored after a checkpoint kept in the database: the
last reading whose analysis the broker has acknowledged. So no analysis is skipped when a process
ends or the broker is away. After a takeover the analyses of the last seconds are published again,
with the same `id`. The checkpoint is an id, which changes of the clock do not affect.
"""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from sqlalchemy import Connection, RowMapping

import queries.checkpoints
import queries.positions
import queries.readings
from broker.notifier import ChangeSet
from broker.publisher import Publisher, PublishError
from config import Settings
from database import Database
from jobs.job import Job
from queries.readings import RowRange
from services import health_index, status
from streams.registry import Streams
from streams.stream import Stream
from utils import clock

logger = logging.getLogger(__name__)
STATUS_SECONDS = 60.0
"""How often the status is published again without a change."""
PAGE = 200
OVERLAP = timedelta(seconds=15)
"""How far apart in time readings may be committed out of the order of their ids."""
HEALTHY = "AutoForge receives and stores readings"


class Analyses(Job):
    """Publishes analyses for every stream that declares a topic for them."""

    name = "analyses"
    interval = 1.0

    def __init__(self, settings: Settings, database: Database, streams: Streams) -> None:
        self._database = database
        self._channels = [
            Channel(stream, settings, database) for stream in streams if stream.health.topics()
        ]
        self._names = {channel.stream.name for channel in self._channels}

    def run(self, connection: Connection) -> None:
        """Publish new analyses. Raises Unavailable, PublishError."""
        errors: list[PublishError] = []
        for channel in self._channels:
            if channel.stream.name not in self._database.unusable:
                try:
                    channel.publish(connection)
                except PublishError as error:
                    # The broker may refuse the topic of one stream only.
                    errors.append(error)
        if errors:
            raise errors[0]

    def waits_for(self, changes: ChangeSet) -> bool:
        """Return whether the changes may include readings of these streams."""
        return changes.everything or not self._names.isdisjoint(changes.readings)

    def leave(self) -> None:
        """Disconnect, so that another process can take over."""
        for channel in self._channels:
            channel.leave()

    def without_database(self) -> None:
        """Publish that the database is away, if this process published the status.

        Raises PublishError.
        """
        for channel in self._channels:
            channel.publish_status_again()

    def close(self) -> None:
        """Publish that the backend stops, if this process published the status."""
        for channel in self._channels:
            channel.close()


class Channel:
    """Publishes the analyses and the status of one stream."""

    def __init__(self, stream: Stream, settings: Settings, database: Database) -> None:
        self.stream = stream
        self._settings = settings
        self._database = database
        self._table = database.tables[stream.name]
        # The broker publishes the will later and adds no time.
        gone = _status("offline", "AutoForge has lost the broker, or was ended by force", None)
        topic = stream.health.status_topic
        self._publisher = Publisher(settings, will=(topic, gone) if topic else None)
        self._begun = clock.now()
        # The lowest id stored since then, until there is a checkpoint.
        self._first: int | None = None
        # The highest id whose analysis is published, as far as this process knows.
        self._newest: int | None = None
        # The ids that this process has published and reads again because of OVERLAP.
        self._seen: set[int] = set()
        self._published: tuple[str, str, int] | None = None
        self._publish_again_at = 0.0

    def publish(self, connection: Connection) -> None:
        """Publish new analyses and move the checkpoint. Raises Unavailable, PublishError."""
        if self.stream.health.status_topic:
            self._publish_status()
        if self.stream.health.analysis_topic:
            self._publish_new(connection)

    def publish_status_again(self) -> None:
        """Publish the status, if this process has published it before. Raises PublishError."""
        if self._published is not None:
            self._publish_status()

    def leave(self) -> None:
        """Disconnect, so that another process can take over."""
        if self._published is not None:
            self._published = None
            self._publisher.close()

    def close(self) -> None:
        """Publish that the backend stops, if this process published the status."""
        if self._published is not None:
            try:
                gone = _status("offline", "AutoForge was stopped", _now())
                self._publisher.publish(self.stream.health.status_topic, gone, retain=True)
            except PublishError as error:
                logger.warning("Cannot publish that AutoForge stops: %s", error)
        self._publisher.close()

    def _publish_status(self) -> None:
        health = status.health(self._settings, self._database)
        name, message = health["status"], health["message"] or HEALTHY
        # After a reconnect the broker may have published the will of the previous connection.
        latest = (name, message, self._publisher.connections)
        if latest == self._published and time.monotonic() < self._publish_again_at:
            return
        self._publisher.publish(
            self.stream.health.status_topic, _status(name, message, _now()), retain=True
        )
        self._published = (name, message, self._publisher.connections)
        self._publish_again_at = time.monotonic() + STATUS_SECONDS

    def _publish_new(self, connection: Connection) -> None:
        with self._database.read() as reader:
            checkpoint = queries.checkpoints.checkpoint(reader, self.stream.name)
            end = queries.readings.newest_id(reader, self._table)
            if checkpoint is None:
                first = self._begin(reader, end)
            else:
                first = queries.positions.first_uncertain(reader, self._table, checkpoint, OVERLAP)
        if checkpoint != self._newest:  # another process has published
            self._newest, self._seen = checkpoint, set()
        self._seen = {number for number in self._seen if number >= first}
        row_range = RowRange(first, end)
        while page := self._page(row_range):
            new = [row for row in page if row["id"] not in self._seen]
            for row in new:
                self._publisher.publish(
                    self.stream.health.analysis_topic, _analysis(self.stream, row)
                )
                self._seen.add(row["id"])
            if new:
                self._move_checkpoint(connection, max(self._newest or 0, new[-1]["id"]))
            row_range = RowRange(page[-1]["id"] + 1, end)

    def _begin(self, reader: Connection, end: int) -> int:
        """Return the id to start from without a checkpoint; kept, because the clock may change."""
        if self._first is None or self._first > end + 1:  # then the database was replaced
            # A reading dated in the future was stored before the clock was set back,
            # and so before this process began.
            now = clock.now()
            begun = self._begun if self._begun <= now else now - OVERLAP
            first = queries.positions.first_stored_after(
                reader, self._table, begun, OVERLAP, now + OVERLAP
            )
            self._first = min(first, end + 1)
        return self._first

    def _page(self, row_range: RowRange) -> Sequence[RowMapping]:
        with self._database.read() as reader:
            return queries.readings.readings_of(reader, self._table, None, row_range, PAGE)

    def _move_checkpoint(self, connection: Connection, newest: int) -> None:
        with self._database.transaction(connection):
            queries.checkpoints.move(connection, self.stream.name, newest)
        self._newest = newest


def _status(name: str, message: str, timestamp: str | None) -> bytes:
    return msgspec.json.encode({"status": name, "message": message, "timestamp": timestamp})


def _now() -> str:
    return clock.rfc3339(clock.now())


def _analysis(stream: Stream, row: RowMapping) -> bytes:
    origin = {
        "id": row["id"],
        stream.device: row["device_id"],
        "timestamp": clock.rfc3339(row["timestamp"]),
    }
    values = {metric.name: row[metric.name] for metric in stream.factors}
    return msgspec.json.encode(origin | health_index.as_json(health_index.analyse(stream, values)))
