"""Declarations: read the TOML files, and turn each into a `Stream` or the reason why not."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import msgspec

from config import Settings
from streams.checks import (
    StreamError,
    check_metric,
    check_name,
    check_stream,
    check_table,
    expect,
)
from streams.conflicts import check_conflicts, check_settings, published
from streams.figure_checks import check_figures
from streams.files import DeclarationFile, chosen
from streams.metric import ByteEncoding, ByteFormat, Metric, MetricType
from streams.own_topics import DeviceTopics
from streams.payload_checks import check_payload
from streams.payload_shape import (
    SENML_DEVICE,
    Decimal,
    Empty,
    Format,
    PayloadShape,
    Rest,
    Retained,
    Unpack,
)
from streams.registry import Streams
from streams.stream import Devices, Energy, HealthRules, Oee, PresenceRules, Stream, Timestamp
from streams.topic_checks import check_presence, check_topic, check_topic_keys, check_topics
from streams.topics import METRIC, PLACEHOLDER, TopicPattern
from streams.unusable import set_aside
from utils.text import decoded

SENSOR_TOPIC = "SENSOR_TOPIC"
Unwritable = Callable[[Stream], str]
"""Tells why the payloads of a stream cannot be written; an empty text if they can be."""
# The words that a key may have, by its name.
_WORDS = {
    "type": MetricType,
    "as": ByteFormat,
    "from": ByteEncoding,
    "format": Format,
    "empty": Empty,
    "decimal": Decimal,
    "retained": Retained,
    "unpack": Unpack,
    "rest": Rest,
}


class _Declaration(
    PayloadShape,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename={"excluded": "except"},
):
    topic: str | tuple[str, ...]
    metrics: dict[str, Any] = msgspec.field(default_factory=dict)
    title: str = ""
    table: str = ""
    excluded: tuple[str, ...] = ()
    device: str | tuple[str, ...] = ""
    device_default: str = ""
    timestamp: Timestamp = Timestamp()
    simulate: Devices = Devices()
    presence: PresenceRules | None = None
    health: HealthRules = HealthRules()
    oee: Oee | None = None
    energy: Energy | None = None


def declared(settings: Settings, unwritable: Unwritable | None = None) -> Streams:
    """Return the streams of STREAMS_DIR and STREAMS, `sensors` on SENSOR_TOPIC if set.

    See `load` for `unwritable`. Raises StreamError.
    """
    is_set = "sensor_topic" in settings.model_fields_set
    topics = {"sensors": settings.sensor_topic} if is_set else {}
    catch_all = settings.catch_all_topic or ""
    device_topics = DeviceTopics.of(settings)
    names = settings.streams.split(",") if settings.streams else ()
    return load(
        settings.streams_dir, topics, device_topics, catch_all, names, unwritable=unwritable
    )


def load(
    folder: Path,
    topics: Mapping[str, str],
    device_topics: DeviceTopics,
    catch_all: str = "",
    names: Sequence[str] = (),
    *,
    unwritable: Unwritable | None = None,
) -> Streams:
    """Read every `*.toml` of a folder that is not hidden; `topics` replaces topics by stream.

    With `names`, read these streams alone, from the folder or else from the library. With
    `unwritable`, a stream whose payloads cannot be written must not be simulated.

    A file that cannot be used is listed in `unusable` with file, key and what was expected.
    Raises StreamError if no file can be used, or if settings conflict.
    """
    files = chosen(folder, names)
    check_settings(device_topics.by_setting() | _topics_of_settings(files, topics))
    streams: list[Stream] = []
    faults: dict[DeclarationFile, str] = {}
    # The oldest of the files that declare a topic keeps it; a topic from a setting comes last.
    for file in sorted(files, key=lambda it: (it.name in topics, it.modified)):
        try:
            stream = _read(file, topics.get(file.name), unwritable)
            check_conflicts(stream, streams, device_topics)
            streams.append(stream)
        except StreamError as error:
            faults[file] = str(error)
    if not streams:
        raise StreamError("\n".join(faults.values()))
    streams.sort(key=lambda stream: stream.name)
    taken = [*(topic for stream in streams for topic in stream.received), *device_topics]
    unusable = set_aside(faults, topics, taken, published(streams, device_topics))
    try:
        return Streams(streams, device_topics, unusable, _digest(files, topics), catch_all)
    except ValueError as error:
        raise StreamError(f"CATCH_ALL_TOPIC={catch_all}: {error}") from error


def _topics_of_settings(
    files: Sequence[DeclarationFile], topics: Mapping[str, str]
) -> dict[str, TopicPattern]:
    used = [topics[file.name] for file in files if file.name in topics]
    patterns = [TopicPattern.of(topic, SENSOR_TOPIC) for topic in used]
    return {pattern.setting: pattern for pattern in patterns}


def _digest(files: Sequence[DeclarationFile], topics: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(repr(sorted(topics.items())).encode(), digest_size=6)
    for file in files:
        if not file.fault:
            digest.update(os.fsencode(f"{file.path.name}\0") + file.content + b"\0")
    return digest.hexdigest()


def _read(file: DeclarationFile, topic: str | None, unwritable: Unwritable | None) -> Stream:
    if file.fault:
        raise StreamError(f"{file}: cannot be read: {file.fault}")
    try:
        declared = msgspec.toml.decode(decoded(file.content), type=_Declaration)
        stream = _stream(file.name, declared, topic)
        if unwritable is not None and stream.simulate != Devices():
            _check_simulated(unwritable(stream))
    except RecursionError as error:
        raise StreamError(f"{file}: its values are nested too deeply") from error
    except (msgspec.DecodeError, ValueError) as error:  # a TOMLDecodeError is a ValueError
        raise StreamError(f"{file}: {_where(str(error))}") from error
    except StreamError as error:
        raise StreamError(f"{file}: {error}") from error
    return stream


def _check_simulated(reason: str) -> None:
    expected = f"nothing, because payloads cannot be written: {reason}"
    expect(not reason, "simulate", expected)


def _where(message: str, heading: str = "") -> str:
    """Return a message of msgspec with the key in front, and with the words that it may have."""
    text, _, path = message.partition(" - at `$")
    key = heading + path.rstrip("`") if heading else path.strip("`.")
    name = key.rpartition(".")[2] if key.startswith("metrics.") else key
    if words := get_args(_WORDS.get(name)):
        expected = f"Expected {' or '.join(filter(None, words))}"
        text = text.replace("Invalid enum value", f"{expected}, got")
        text = text.replace("Expected `str`", expected)
    return f"{key}: {text}" if key else text


def _stream(name: str, declared: _Declaration, other_topic: str | None = None) -> Stream:
    check_name(name)
    metrics = tuple(_metric(key, metric) for key, metric in declared.metrics.items())
    table = declared.table or f"{name.replace('-', '_')}_readings"
    check_table(table)
    topics = _topics(declared.topic if other_topic is None else other_topic, metrics)
    if other_topic is not None:
        topics = tuple(replace(topic, setting=SENSOR_TOPIC) for topic in topics)
    device = declared.device
    if not device and declared.format == "senml":
        device = SENML_DEVICE
    parts = _device_parts(device)
    stream = Stream(
        name=name,
        title=declared.title or name,
        topics=topics,
        excluded=frozenset(declared.excluded),
        table=table,
        device=_device_field(device, topics, parts),
        device_parts=parts,
        device_default=declared.device_default,
        shape=_shape(declared),
        timestamp=declared.timestamp,
        metrics=metrics,
        simulate=declared.simulate,
        presence=declared.presence,
        health=declared.health,
        oee=declared.oee,
        energy=declared.energy,
    )
    check_topic_keys(stream)
    check_presence(stream)
    check_payload(stream)
    check_stream(stream)
    check_figures(stream)
    return stream


def _shape(declared: _Declaration) -> PayloadShape:
    return PayloadShape(
        **{name: getattr(declared, name) for name in PayloadShape.__struct_fields__}
    )


def _metric(name: str, declared: Any) -> Metric:
    given = {"path": declared} if isinstance(declared, str) else declared
    try:
        metric = msgspec.convert(given, Metric)
    except msgspec.ValidationError as error:
        raise StreamError(_where(str(error), f"metrics.{name}")) from error
    check_metric(name, metric)
    return msgspec.structs.replace(
        metric,
        name=name,
        title=metric.title or name,
        plural=metric.plural or name,
        level=metric.level or name,
    )


def _topics(
    declared: str | tuple[str, ...], metrics: tuple[Metric, ...]
) -> tuple[TopicPattern, ...]:
    by_level: dict[str, tuple[str, ...]] = {}
    for metric in metrics:
        by_level[metric.level] = (*by_level.get(metric.level, ()), metric.name)
    topics: list[TopicPattern] = []
    for text in (declared,) if isinstance(declared, str) else declared:
        levels = tuple(text.split("/"))
        topics.append(TopicPattern(levels, by_level if METRIC in levels else {}))
        check_topic(topics[-1])
    check_topics(topics)
    return tuple(topics)


def _device_parts(declared: str | tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(declared, str):
        expect(declared, "device", "at least one part, such as {gateway}")
        return declared
    return () if PLACEHOLDER.fullmatch(declared) is None else (declared,)


def _device_field(
    declared: str | tuple[str, ...], topics: Sequence[TopicPattern], parts: Sequence[str]
) -> str:
    if parts or not isinstance(declared, str):
        return ""
    return declared or ("device_id" if topics[0].has_device else "")
