"""Read values by topic, from a stream with a topic for each metric."""

from collections.abc import Sequence

from sqlalchemy import RowMapping

import queries.newest
import queries.readings
from database import Database
from queries.readings import TimeFilter
from services import serializers
from streams.metric import Metric
from streams.registry import Streams
from streams.stream import Stream
from utils import clock
from utils.json_types import JsonObject


class UnknownTopic(Exception):
    """A topic does not belong to the stream; the text names the topics that do."""


class TopicValues:
    """Returns messages as `{"topic", "value", "timestamp"}`.

    The timestamp is the device's, or the server's if it sent none.
    """

    def __init__(self, streams: Streams, stream: Stream, database: Database) -> None:
        self._streams = streams
        self._stream = stream
        self._database = database
        self._table = database.tables[stream.name]

    def newest(self, device_id: str | None) -> JsonObject:
        """Return the newest value of every metric, or null, and their newest time.

        Raises Unavailable.
        """
        with self._database.read() as reader:
            found = {
                metric.name: queries.newest.value(
                    reader, self._stream.name, self._table, device_id, metric.name
                )
                for metric in self._stream.metrics
            }
        values = {name: None if row is None else row[name] for name, row in found.items()}
        times = [row["timestamp"] for row in found.values() if row is not None]
        future = clock.future()
        newest = max(times, key=lambda timestamp: (timestamp < future, timestamp), default=None)
        return {**values, "timestamp": None if newest is None else clock.rfc3339(newest)}

    def last(self, topic: str) -> JsonObject:
        """Return the newest message of a topic, with null value and time if there is none.

        Raises UnknownTopic, Unavailable.
        """
        named, metric = self._parts(topic)
        newest = self._newest(named, metric)
        return newest or {"topic": topic, "value": None, "timestamp": None}

    def history(self, topic: str | None, device_id: str | None, limit: int) -> list[JsonObject]:
        """Return messages of one topic or all, of one device or all, newest first.

        Raises UnknownTopic, Unavailable.
        """
        chosen, metrics = TimeFilter(device_id), self._stream.metrics
        if topic is not None:
            named, metric = self._parts(topic)
            if None not in (device_id, named) and device_id != named:
                return []
            chosen, metrics = TimeFilter(named or device_id, metric=metric.name), (metric,)
        with self._database.read() as reader:
            rows = queries.readings.history(reader, self._table, chosen, limit)
        return self._messages(rows, metrics)[:limit]

    def _newest(self, device_id: str | None, metric: Metric) -> JsonObject | None:
        with self._database.read() as reader:
            row = queries.newest.value(
                reader, self._stream.name, self._table, device_id, metric.name
            )
        return next(iter(self._messages([] if row is None else [row], (metric,))), None)

    def _messages(self, rows: Sequence[RowMapping], metrics: Sequence[Metric]) -> list[JsonObject]:
        present = [
            (metric, row) for row in rows for metric in metrics if row[metric.name] is not None
        ]
        return [serializers.message(self._stream, metric, row) for metric, row in present]

    def _parts(self, topic: str) -> tuple[str | None, Metric]:
        found = self._streams.match(topic)
        if found is None or found.stream is not self._stream:
            known = ", ".join(self._stream.topic.subscriptions())
            stranger = f"topic: {topic} is not a topic of the stream {self._stream.name}"
            raise UnknownTopic(f"{stranger}; those are {known}")
        (name, *_) = self._stream.topic.metric_levels[str(found.level)]
        metric = next(metric for metric in self._stream.metrics if metric.name == name)
        return found.device_id, metric
