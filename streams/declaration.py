"""The module that reads the declarations: TOML files to `Stream` objects, with every fault named."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from config import Settings
from streams.topics import DEVICE, METRIC, DeviceTopics, TopicPattern

RESERVED_NAMES = {"health", "streams", "control", "docs", "rejected"}
RESERVED_COLUMNS = {"id", "device_id", "timestamp", "device_timestamp", "fingerprint", "created_at", "value"}
RESERVED_TABLES = {
    "alembic_version",
    "commands",
    "delivered_batches",
    "ingest_status",
    "installation",
    "presence",
    "rejected_messages",
    "rejection_counts",
}
_STREAM_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MAX_TABLE_NAME = 49
"""PostgreSQL has 63 characters for the name of an index, which is 14 longer."""
_METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,50}")


class StreamError(Exception):
    """A declaration cannot be used: the text names the file, the key and what was expected."""


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a simulated device makes up values of a metric."""

    mean: float = 50.0
    swing: float = 0.0
    """Half the difference between the daily low and the daily high."""
    noise: float = 1.0
    """Standard deviation of the random walk around the daily course."""
    minimum: float | None = None
    maximum: float | None = None
    states: tuple[str, ...] = ("on", "off")
    """For text: what the device may say."""
    hold: float = 300.0
    """For text: how many seconds a state lasts on average."""


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured quantity of a stream; it is a column of the table."""

    name: str = ""
    title: str = ""
    unit: str = ""
    type: Literal["number", "text"] = "number"
    required: bool = False
    plural: str = ""
    """The key in ml-data; the metric's name unless declared."""
    level: str = ""
    """What stands in the topic's `{metric}` level; the metric's name unless declared."""
    simulate: Simulation = Simulation()


class Timestamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the device's own time is and whether it must be there."""

    field: str = "timestamp"
    required: bool = False


class _Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: str
    metrics: dict[str, Any]
    title: str = ""
    table: str = ""
    device: str = ""
    device_default: str = ""
    values: str = ""
    timestamp: Timestamp = Timestamp()


@dataclass(frozen=True)
class Stream:
    """One kind of reading, as declared."""

    name: str
    title: str
    topic: TopicPattern
    table: str
    device: str
    """The payload's field with the device id; where the topic has the id, it must agree if present."""
    device_default: str
    """The device id of a message that names none; empty where that is a fault."""
    values: str
    """The payload's field under which the values are nested; empty where they are at the top."""
    timestamp: Timestamp
    metrics: tuple[Metric, ...]

    def metric(self, name: str) -> Metric:
        """The metric with this name. Raises KeyError."""
        return {metric.name: metric for metric in self.metrics}[name]


class Streams:
    """All declared streams, by name, and which of them a topic belongs to."""

    def __init__(self, streams: list[Stream], device_topics: DeviceTopics) -> None:
        self.device_topics = device_topics
        self._by_name = {stream.name: stream for stream in streams}
        # One expression for all: the group that matched tells the stream.
        parts = [self._named(index, stream) for index, stream in enumerate(streams)]
        self._regex = re.compile("|".join(parts) or r"(?!)", re.DOTALL)
        self._ordered = streams
        self.match = lru_cache(maxsize=100_000)(self._match)
        """The stream, the device id and the metric's level that a topic names, or None."""

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._ordered)

    def __getitem__(self, name: str) -> Stream:
        return self._by_name[name]

    def get(self, name: str) -> Stream | None:
        """The stream with this name, or None."""
        return self._by_name.get(name)

    def subscriptions(self) -> list[str]:
        """Every topic filter to subscribe to."""
        patterns = [*(stream.topic for stream in self), self.device_topics.ack, self.device_topics.status]
        return [topic for pattern in patterns for topic in pattern.subscriptions()]

    def _match(self, topic: str) -> tuple[Stream, str | None, str | None] | None:
        found = self._regex.fullmatch(topic)
        if found is None:
            return None
        groups = found.groupdict()
        index = next(i for i in range(len(self._ordered)) if groups[f"s{i}"] is not None)
        return self._ordered[index], groups.get(f"device{index}"), groups.get(f"metric{index}")

    @staticmethod
    def _named(index: int, stream: Stream) -> str:
        regex = stream.topic.regex()
        for group in ("device", "metric"):
            regex = regex.replace(f"(?P<{group}>", f"(?P<{group}{index}>")
        return f"(?P<s{index}>{regex})"


def declared(settings: Settings) -> Streams:
    """The streams of STREAMS_DIR, `sensors` on SENSOR_TOPIC. Raises StreamError."""
    return load(settings.streams_dir, {"sensors": settings.sensor_topic}, DeviceTopics.of(settings))


def load(folder: Path, topics: Mapping[str, str], device_topics: DeviceTopics) -> Streams:
    """Read every `*.toml` of a folder; `topics` replaces the topic of the streams it names.

    Raises StreamError for the first fault: file, key and what was expected.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise StreamError(f"{folder}: no stream is declared here: expected at least one file such as sensors.toml")
    streams = [_read(file, topics.get(file.stem)) for file in files]
    for index, stream in enumerate(streams):
        for other in streams[:index]:
            _check_pair(stream, other)
    _check_device_topics(streams, device_topics)
    return Streams(streams, device_topics)


def _read(file: Path, topic: str | None) -> Stream:
    try:
        declared = msgspec.toml.decode(file.read_bytes(), type=_Declaration)
        if topic is not None:
            declared = msgspec.structs.replace(declared, topic=topic)
        return _stream(file.stem, declared)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StreamError(f"{file}: {_where(str(error))}") from error
    except StreamError as error:
        raise StreamError(f"{file}: {error}") from error


def _where(message: str) -> str:
    text, _, path = message.partition(" - at `$")
    return f"{path.strip('`.')}: {text}" if path else text


def _expect(holds: object, key: str, expected: str) -> None:
    if not holds:
        raise StreamError(f"{key}: expected {expected}")


def _stream(name: str, declared: _Declaration) -> Stream:
    _expect(_STREAM_NAME.fullmatch(name), "the file's name", "a-z, 0-9, - and _ in it, because it is the stream's name")
    _expect(name not in RESERVED_NAMES, "the file's name", f"another than {', '.join(sorted(RESERVED_NAMES))}")
    metrics = tuple(_metric(key, metric) for key, metric in declared.metrics.items())
    table = declared.table or f"{name.replace('-', '_')}_readings"
    _expect(_TABLE_NAME.fullmatch(table), "table", "lower-case letters, digits and _")
    _expect(len(table) <= _MAX_TABLE_NAME, "table", f"at most {_MAX_TABLE_NAME} characters")
    _expect(table not in RESERVED_TABLES, "table", f"another name than {table}, which AutoForge uses itself")
    topic = _topic(declared.topic, metrics)
    _expect(
        topic.has_device or declared.device, "device", "the payload's field with the device id, or {device_id} in topic"
    )
    _expect(not (topic.has_metric and declared.values), "values", "nothing, where each metric has its own topic")
    stream = Stream(
        name,
        declared.title or name,
        topic,
        table,
        declared.device or "device_id",
        declared.device_default,
        declared.values,
        declared.timestamp,
        metrics,
    )
    _check_names(stream)
    return stream


def _metric(name: str, declared: Any) -> Metric:
    key = f"metrics.{name}"
    try:
        metric = msgspec.convert(declared, Metric)
    except msgspec.ValidationError as error:
        text, _, path = str(error).replace("Invalid enum value", "Expected number or text, got").partition(" - at `$")
        raise StreamError(f"{key}{path.rstrip('`')}: {text}") from error
    _expect(_METRIC_NAME.fullmatch(name), key, "a letter, then letters, digits and _")
    _expect(name.lower() not in RESERVED_COLUMNS, key, f"another name than {', '.join(sorted(RESERVED_COLUMNS))}")
    _expect(not metric.name, f"{key}.name", "nothing: the table's heading is the name")
    _expect(metric.simulate.states, f"{key}.simulate.states", "at least one state")
    return msgspec.structs.replace(
        metric,
        name=name,
        title=metric.title or name,
        plural=metric.plural or name,
        level=metric.level or name,
    )


def _topic(text: str, metrics: tuple[Metric, ...]) -> TopicPattern:
    levels = tuple(text.split("/"))
    _expect("" not in levels, "topic", "no empty level")
    for level in levels:
        plain = not any(character in level for character in "+#{}")
        _expect(plain or level in (DEVICE, METRIC), "topic", f"{DEVICE} or {METRIC} as a whole level, not {level!r}")
    _expect(not levels[0].startswith("$"), "topic", "a first level without $")
    for name in (DEVICE, METRIC):
        _expect(levels.count(name) <= 1, "topic", f"{name} at most once")
    by_level = {metric.level: metric.name for metric in metrics}
    if METRIC in levels:
        _expect(len(by_level) == len(metrics), "metrics", "a different level for each metric")
        _expect(not any(set(level) & set("/+#") for level in by_level), "metrics", "levels without / + #")
    return TopicPattern(levels, by_level)


def _check_names(stream: Stream) -> None:
    _expect(stream.metrics, "metrics", "at least one metric, such as [metrics.temperature]")
    for names, what in (
        ([metric.name.lower() for metric in stream.metrics], "names that differ in more than case"),
        ([metric.plural for metric in stream.metrics] + ["timestamps", "device_ids"], "a different plural for each"),
    ):
        _expect(len(set(names)) == len(names), "metrics", what)
    fields = [stream.device, stream.timestamp.field, *filter(None, [stream.values])]
    _expect(len(set(fields)) == len(fields), "device", "another field than those of timestamp and values")
    if not stream.values:
        names = [metric.name for metric in stream.metrics]
        _expect(stream.device not in names, "device", "a field that is not a metric")
        _expect(stream.timestamp.field not in names, "timestamp.field", "a field that is not a metric")


def _check_pair(stream: Stream, other: Stream) -> None:
    if stream.table == other.table:
        raise StreamError(
            f"{stream.name}.toml: table: expected another than {stream.table}, which {other.name}.toml has"
        )
    if stream.topic.overlaps(other.topic):
        raise StreamError(f"{stream.name}.toml: topic: expected none that {other.name}.toml also receives")


def _check_device_topics(streams: list[Stream], device_topics: DeviceTopics) -> None:
    taken = {f"{stream.name}.toml: topic": stream.topic for stream in streams}
    for name, topic in device_topics._asdict().items():
        variable = f"{name.upper()}_TOPIC"
        for other, pattern in taken.items():
            if topic.overlaps(pattern):
                raise StreamError(f"{other}: expected none that {variable} ({topic}) also is")
        taken[variable] = topic
