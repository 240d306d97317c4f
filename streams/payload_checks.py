"""Checks of the keys that say what payloads look like."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from streams.checks import expect
from streams.format_checks import check_format
from streams.metric import MAX_INTEGER, Metric, MetricType, Value
from streams.paths import WHOLE, Path
from streams.payload_shape import Pairs, PayloadShape
from streams.reach import Reach, kind_of
from streams.stream import KEY, Stream, Timestamp
from utils.calendar import zone_or_offset
from utils.clock import PER_SECOND

MAX_BYTES_AT = 65_536
BASES = (2, 8, 16)
UTC_NAMES = ("UTC", "GMT")


def check_payload(stream: Stream) -> None:
    """Check the keys of a stream that belong to its payload. Raises StreamError."""
    paths: dict[str, Sequence[str]] = {
        "device": stream.device_paths,
        "timestamp.field": list(stream.timestamp.fields),
        "values": [stream.values] if stream.values else [],
        "only": list(stream.shape.only),
        **_paths_of_members(stream.shape),
    }
    for key, texts in paths.items():
        check_paths(key, texts)
    expect(all(stream.shape.null), "null", "texts that are not empty")
    _check_members(stream)
    check_format(stream)
    _check_time(stream.timestamp)
    for metric in stream.metrics:
        _check_metric(f"metrics.{metric.name}", metric)
    _check_reach(stream)


def _paths_of_members(shape: PayloadShape) -> dict[str, Sequence[str]]:
    exploded = [path for path in shape.exploded if path != WHOLE]
    paths: dict[str, Sequence[str]] = {"explode": exploded}
    if shape.pairs is not None:
        for key, path in msgspec.to_builtins(shape.pairs).items():
            paths[f"pairs.{key}"] = [path] if path or key in ("name", "value") else []
    return paths


def _check_members(stream: Stream) -> None:
    shape, exploded = stream.shape, stream.shape.exploded
    if len(exploded) > 1:
        names = [Path.of(path).keys[-1] for path in exploded if path != WHOLE]
        are_arrays = len(set(names)) == len(exploded) and all(isinstance(n, str) for n in names)
        expect(are_arrays, "explode", "paths of arrays that end with different names")
    if exploded:
        is_free = "key" not in stream.topic.names
        expect(is_free, "topic", f"a name other than {KEY}, which is that of `explode`")
    if shape.pairs is not None:
        expect(not shape.values, "values", "nothing, because the pairs are the values")
        _check_pairs(shape, shape.pairs)


def _check_pairs(shape: PayloadShape, pairs: Pairs) -> None:
    name = Path.of(pairs.name)
    if shape.exploded and not pairs.array:
        # An array of objects in the place of a reading is several readings.
        is_readable = len(shape.exploded) == 1 and (name.from_top or kind_of(name) is not dict)
        expect(is_readable, "pairs.in", "the path of the array of pairs in each reading")
    for key, text in (("value", pairs.value), ("time", pairs.time)):
        path = Path.of(text) if text else name
        is_alike = name.from_top or path.from_top or {kind_of(name), kind_of(path)} != {dict, list}
        kind = "a name" if kind_of(name) is dict else "an index"
        expect(is_alike, f"pairs.{key}", f"a path that begins with {kind}, as that of pairs.name")


def _check_reach(stream: Stream) -> None:
    """Check that fields can be found in some payload. Raises StreamError."""
    shape, reach = stream.shape, Reach(stream.shape)
    if stream.values:
        _expect_found("values", reach.fault_beside(Path.of(stream.values)))
    if shape.pairs is not None and shape.pairs.array and shape.exploded:
        _expect_found("pairs.in", reach.fault_beside(Path.of(shape.pairs.array)))
    for text in shape.only:
        _expect_found("only", reach.fault(Path.of(text)))
    time = stream.timestamp
    if time.field != Timestamp().field or (time.required and not _has_time(shape.pairs)):
        for text in time.fields:
            _expect_found("timestamp.field", reach.fault(Path.of(text)))
    for metric in stream.metrics:
        paths = [Path.of(text) for text in metric.paths]
        held = bool(stream.values)
        faults = [reach.fault(path) for path in paths if path.from_top or not held]
        if len(faults) == len(paths) and all(faults):
            _expect_found(f"metrics.{metric.name}.path", faults[0])
    _check_device(stream, reach)


def _has_time(pairs: Pairs | None) -> bool:
    return pairs is not None and bool(pairs.time)


def _check_device(stream: Stream, reach: Reach) -> None:
    others = [part for part in stream.device_parts if part not in (*stream.device_paths, KEY)]
    if stream.is_named_by_topic or stream.device_default or others:
        return
    faults = [reach.fault(Path.of(text)) for text in stream.device_paths]
    if KEY in stream.device_parts:
        is_keyless = len(stream.shape.exploded) > 1
        faults.append(f"a path, because several arrays have no {KEY}" if is_keyless else "")
    if faults and all(faults):
        _expect_found("device", faults[0])


def _expect_found(key: str, fault: str) -> None:
    expect(not fault, key, fault)


def _check_time(declared: Timestamp) -> None:
    if declared.zone:
        try:
            zone_or_offset(declared.zone)
        except ValueError:
            expected = "a time zone such as Europe/Berlin, or an offset such as +07:00"
            expect(None, "timestamp.zone", expected)
        is_clear = "/" in declared.zone or declared.zone[0] in "+-" or declared.zone in UTC_NAMES
        expected = (
            "a name with a place, such as Europe/Berlin, or an offset such as -05:00: "
            "abbreviations such as EST have no summer time, or mean several zones"
        )
        expect(is_clear, "timestamp.zone", expected)
    if declared.format in PER_SECOND:
        expected = f"nothing, because a number in {declared.format} counts from 1970 in UTC"
        expect(not declared.zone, "timestamp.zone", expected)
        return
    if not declared.format:
        return
    sample = datetime(2026, 11, 28, 13, 45, 59, tzinfo=UTC)
    try:
        written = sample.strftime(declared.format)
        parsed = datetime.strptime(written, declared.format)  # noqa: DTZ007 - only its date
    except ValueError:
        parsed = None
    is_whole = parsed is not None and parsed.replace(second=0) == sample.replace(
        second=0, tzinfo=parsed.tzinfo
    )
    expected = (
        f"{', '.join(PER_SECOND)}, or a format of strptime with a date and a time of day, "
        "such as %d.%m.%Y %H:%M:%S"
    )
    expect(is_whole, "timestamp.format", expected)
    named = "no %Z, as names of zones mean different ones in different places; %z is an offset"
    expect("%Z" not in declared.format, "timestamp.format", named)


def check_paths(key: str, texts: Iterable[str]) -> None:
    """Check that texts are paths. Raises StreamError."""
    for text in texts:
        try:
            Path.of(text)
        except ValueError as error:
            expect(None, key, str(error))


def _check_metric(key: str, metric: Metric) -> None:
    if metric.path != ():
        expect(metric.path, f"{key}.path", "at least one path")
        check_paths(f"{key}.path", metric.paths)
    expect(metric.item is not None or not metric.split, f"{key}.item", "which piece of the text")
    expect(metric.base in (0, *BASES), f"{key}.base", f"one of {', '.join(map(str, BASES))}")
    if metric.bytes is not None:
        expect(not metric.base, f"{key}.base", "nothing, because `bytes` says what the digits are")
        within = 0 <= metric.bytes.at < MAX_BYTES_AT
        expect(within, f"{key}.bytes.at", f"a number from 0 to {MAX_BYTES_AT - 1}")
    numbers = (metric.scale, metric.offset)
    usable = all(map(math.isfinite, numbers)) and metric.scale != 0
    expect(usable, f"{key}.scale", "finite numbers, and a scale other than 0")
    changes = {
        "scale": metric.scale != 1,
        "offset": metric.offset != 0,
        "suffix": bool(metric.suffix),
        "base": metric.base != 0,
        "bytes": metric.bytes is not None,
    }
    for name, is_set in changes.items():
        expected = f"nothing, because the values are {metric.type}"
        expect(metric.is_quantity or not is_set, f"{key}.{name}", expected)
    _check_map(f"{key}.map", metric)


def _check_map(key: str, metric: Metric) -> None:
    for word, value in metric.map.items():
        expected = f"a value of the type {metric.type}, not {value!r}"
        expect(_fits(metric.type, value), f"{key}.{word}", expected)


def _fits(kind: MetricType, value: Value) -> bool:
    if isinstance(value, str | bool):
        return kind == ("text" if isinstance(value, str) else "boolean")
    if kind == "integer":
        return isinstance(value, int) and abs(value) <= MAX_INTEGER
    return kind == "number" and math.isfinite(value)
