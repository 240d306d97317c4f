"""Values by the topics they came on, of a stream that has a topic for each metric."""

from typing import Any

import queries.readings
from database import Database
from queries.readings import Window
from services import documents
from streams.registry import Streams
from streams.stream import Metric, Stream
from utils import clock

Document = dict[str, Any]


class UnknownTopic(Exception):
    """A topic is none of the stream's; the text says which there are."""


class TopicValues:
    """Messages as `{"topic", "value", "timestamp"}`; the timestamp is the device's, or the server's without one."""

    def __init__(self, streams: Streams, stream: Stream, database: Database) -> None:
        self._streams = streams
        self._stream = stream
        self._database = database
        self._table = database.tables[stream.name]

    def newest(self, device_id: str | None) -> Document:
        """The newest value of every metric, null for what never came, and their newest time. Raises Unavailable."""
        with self._database.reader() as reader:
            found = {
                metric.name: queries.readings.last_sample(reader, self._table, Window(device_id, metric=metric.name))
                for metric in self._stream.metrics
            }
        times = [sample.timestamp for sample in found.values() if sample is not None]
        values = {name: None if sample is None else sample[1] for name, sample in found.items()}
        return {**values, "timestamp": clock.rfc3339(max(times)) if times else None}

    def last(self, topic: str) -> Document:
        """The newest message of a topic; null value and time where none came. Raises UnknownTopic, Unavailable."""
        newest = self.history(topic, None, 1)
        return newest[0] if newest else {"topic": topic, "value": None, "timestamp": None}

    def history(self, topic: str | None, device_id: str | None, limit: int) -> list[Document]:
        """Messages of one topic or of all, of one device or of all, newest first. Raises UnknownTopic, Unavailable."""
        window, metrics = Window(device_id), self._stream.metrics
        if topic is not None:
            named, metric = self._parts(topic)
            if None not in (device_id, named) and device_id != named:
                return []
            window, metrics = Window(named or device_id, metric=metric.name), (metric,)
        with self._database.reader() as reader:
            rows = queries.readings.history(reader, self._table, window, limit)
        said = [(metric, row) for row in rows for metric in metrics if row[metric.name] is not None]
        return [documents.message(self._stream, metric, row) for metric, row in said[:limit]]

    def _parts(self, topic: str) -> tuple[str | None, Metric]:
        found = self._streams.match(topic)
        if found is None or found[0] is not self._stream:
            known = ", ".join(self._stream.topic.subscriptions())
            raise UnknownTopic(f"topic: {topic} is not a topic of the stream {self._stream.name}; those are {known}")
        name = self._stream.topic.metric_levels[str(found[2])]
        return found[1], next(metric for metric in self._stream.metrics if metric.name == name)
