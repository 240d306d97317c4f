"""The module that reads the declarations: TOML files to `Stream` objects, with every fault named."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from config import Settings
from streams.checks import StreamError, check_metric, check_name, check_stream, check_streams, check_table, check_topic
from streams.stream import Devices, Energy, Health, Metric, Oee, Stream, Timestamp
from streams.topics import METRIC, DeviceTopics, TopicPattern, filters_for
from utils.caching import remembering
from utils.text import decoded

_OWN_ROOTS = ("$", "autoforge/")
_OWN = ("autoforge/nothing", "autoforge/[^/]*/notices")


class _Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: str
    metrics: dict[str, Any]
    title: str = ""
    table: str = ""
    device: str = ""
    device_default: str = ""
    values: str = ""
    timestamp: Timestamp = Timestamp()
    simulate: Devices = Devices()
    health: Health = Health()
    oee: Oee | None = None
    energy: Energy | None = None


class Streams:
    """All declared streams, by name, and which of them a topic belongs to."""

    def __init__(self, streams: list[Stream], device_topics: DeviceTopics, catch_all: str = "") -> None:
        self.device_topics = device_topics
        self._catch_all = catch_all
        self._by_name = {stream.name: stream for stream in streams}
        # One expression for all: the group that matched tells the stream, or that it is a topic beside the readings.
        patterns: list[tuple[TopicPattern, Stream | None]] = [(stream.topic, stream) for stream in streams]
        patterns += [(topic, None) for topic in device_topics]
        patterns.sort(key=lambda entry: entry[0].order)
        parts = [self._named(index, pattern) for index, (pattern, _) in enumerate(patterns)]
        self._regex = re.compile("|".join(parts), re.DOTALL)
        self._holders = [holder for _, holder in patterns]
        self._ordered = streams
        self._own = re.compile("|".join(self._own_topics()), re.DOTALL)
        self.filters = filters_for(self._patterns(), catch_all)
        """What to subscribe to: the declared topics, undeclared metrics beside them, and what CATCH_ALL_TOPIC says."""
        self.match = remembering(self._match, 20_000)
        """The stream, the device id and the metric's level that a topic names, or None."""

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._ordered)

    def __getitem__(self, name: str) -> Stream:
        return self._by_name[name]

    def get(self, name: str) -> Stream | None:
        """The stream with this name, or None."""
        return self._by_name.get(name)

    def subscriptions(self) -> list[str]:
        """The filters of every declared topic, one for each metric that has its own."""
        return [topic for pattern in self._patterns() for topic in pattern.subscriptions()]

    def is_own(self, topic: str) -> bool:
        """Whether AutoForge, or the broker itself, publishes on this topic: then it is nobody's reading."""
        if not self._catch_all and not topic.startswith(_OWN_ROOTS):
            return False
        return topic.startswith("$") or self._own.fullmatch(topic) is not None

    def undeclared(self, topic: str) -> Stream | None:
        """The stream to which a topic would belong if it had declared the metric."""
        found = (s for s in self if s.topic.has_metric and re.fullmatch(s.topic.whole_regex(), topic, re.DOTALL))
        return next(found, None)

    def _patterns(self) -> list[TopicPattern]:
        return [*(stream.topic for stream in self), self.device_topics.ack, self.device_topics.status]

    def _own_topics(self) -> list[str]:
        published = [topic for stream in self for topic in stream.health.topics().values()]
        return [*_OWN, self.device_topics.control.regex(), *map(re.escape, published)]

    def _match(self, topic: str) -> tuple[Stream, str | None, str | None] | None:
        found = self._regex.fullmatch(topic)
        if found is None:
            return None
        groups = found.groupdict()
        index = next(i for i in range(len(self._holders)) if groups[f"s{i}"] is not None)
        stream = self._holders[index]
        if stream is None:
            return None
        return stream, groups.get(f"device{index}"), groups.get(f"metric{index}")

    @staticmethod
    def _named(index: int, pattern: TopicPattern) -> str:
        regex = pattern.regex()
        for group in ("device", "metric"):
            regex = regex.replace(f"(?P<{group}>", f"(?P<{group}{index}>")
        return f"(?P<s{index}>{regex})"


def declared(settings: Settings) -> Streams:
    """The streams of STREAMS_DIR, `sensors` on SENSOR_TOPIC if that is set. Raises StreamError."""
    topics = {"sensors": settings.sensor_topic} if "sensor_topic" in settings.model_fields_set else {}
    return load(settings.streams_dir, topics, DeviceTopics.of(settings), settings.catch_all_topic or "")


def load(folder: Path, topics: Mapping[str, str], device_topics: DeviceTopics, catch_all: str = "") -> Streams:
    """Read every `*.toml` of a folder; `topics` replaces the topic of the streams it names.

    Raises StreamError for the first fault: file, key and what was expected.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise StreamError(f"{folder}: no stream is declared here: expected at least one file such as sensors.toml")
    streams = [_read(file, topics.get(file.stem)) for file in files]
    check_streams(streams, device_topics)
    try:
        return Streams(streams, device_topics, catch_all)
    except ValueError as error:
        raise StreamError(f"CATCH_ALL_TOPIC={catch_all}: {error}") from error


def _read(file: Path, topic: str | None) -> Stream:
    try:
        declared = msgspec.toml.decode(decoded(file.read_bytes()), type=_Declaration)
        return _stream(file.stem, declared, topic)
    except OSError as error:
        raise StreamError(f"{file}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:  # a TOMLDecodeError is a ValueError
        raise StreamError(f"{file}: {_where(str(error))}") from error
    except StreamError as error:
        raise StreamError(f"{file}: {error}") from error


def _where(message: str) -> str:
    text, _, path = message.partition(" - at `$")
    return f"{path.strip('`.')}: {text}" if path else text


def _stream(name: str, declared: _Declaration, other_topic: str | None = None) -> Stream:
    check_name(name)
    metrics = tuple(_metric(key, metric) for key, metric in declared.metrics.items())
    table = declared.table or f"{name.replace('-', '_')}_readings"
    check_table(table)
    setting = "" if other_topic is None else "SENSOR_TOPIC"
    topic = _topic(other_topic or declared.topic, metrics, setting)
    stream = Stream(
        name,
        declared.title or name,
        topic,
        table,
        declared.device or ("device_id" if topic.has_device else ""),
        declared.device_default,
        declared.values,
        declared.timestamp,
        metrics,
        declared.simulate,
        declared.health,
        declared.oee,
        declared.energy,
    )
    check_stream(stream)
    return stream


def _metric(name: str, declared: Any) -> Metric:
    try:
        metric = msgspec.convert(declared, Metric)
    except msgspec.ValidationError as error:
        text, _, path = str(error).replace("Invalid enum value", "Expected number or text, got").partition(" - at `$")
        raise StreamError(f"metrics.{name}{path.rstrip('`')}: {text}") from error
    check_metric(name, metric)
    return msgspec.structs.replace(
        metric,
        name=name,
        title=metric.title or name,
        plural=metric.plural or name,
        level=metric.level or name,
    )


def _topic(text: str, metrics: tuple[Metric, ...], setting: str) -> TopicPattern:
    levels = tuple(text.split("/"))
    by_level = {metric.level: metric.name for metric in metrics} if METRIC in levels else {}
    topic = TopicPattern(levels, by_level, setting)
    check_topic(topic)
    return topic
