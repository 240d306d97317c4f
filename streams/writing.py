"""Write payloads as devices do: the inverse of reading them, for simulated devices and checks."""

import base64
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from streams.metric import BytesAt, Metric, Value
from streams.paths import MISSING, Path
from streams.stream import Stream, Timestamp
from utils.calendar import zone_or_offset
from utils.clock import EPOCH, PER_SECOND
from utils.json_types import JsonObject

# A device writes the same few paths in each of its messages.
_path = lru_cache(maxsize=10_000)(Path.of)


def payload(
    stream: Stream, values: Mapping[str, Value], time: datetime, device_id: str | None
) -> JsonObject:
    """Return a payload with these values of metrics, a time and, unless None, a device id.

    The time is naive UTC.
    """
    written: JsonObject = {}
    if device_id is not None:
        parts = stream.parts_of(device_id) if stream.device_parts else {stream.device: device_id}
        for text in stream.device_paths:
            if text in parts:
                _place(written, _path(text).keys, parts[text])
    fields = stream.timestamp.fields
    for field, part in zip(fields, _time(stream.timestamp, time), strict=True):
        _place(written, _path(field).keys, part)
    for name, value in stream.shape.only.items():
        _place(written, _path(name).keys, value)
    root = _path(stream.values).keys if stream.values else ()
    if root:
        _place(written, root, {})
    for metric in stream.metrics:
        if metric.name in values:
            path = _path(metric.paths[0])
            _write(written, () if path.from_top else root, path, metric, values[metric.name])
    return written


def single(
    stream: Stream, metric: Metric, value: Value, time: datetime, device_id: str | None
) -> JsonObject:
    """Return a payload for the topic of one metric."""
    written = payload(stream, {}, time, device_id)
    path = _path(metric.paths[0]) if metric.path else Path("value", ("value",))
    _write(written, (), path, metric, value)
    return written


def representable_time(stream: Stream, time: datetime) -> datetime:
    """Return the last time until then that a payload can have."""
    declared = stream.timestamp.format
    if declared == "s" or (declared and declared not in PER_SECOND and "%f" not in declared):
        return time.replace(microsecond=0)
    return time.replace(microsecond=time.microsecond // 1000 * 1000) if declared == "ms" else time


def _time(declared: Timestamp, time: datetime) -> list[Any]:
    """Return a time as payloads have it, in its parts."""
    if declared.format in PER_SECOND:
        return [(time - EPOCH) // timedelta(microseconds=1) * PER_SECOND[declared.format] // 10**6]
    zone = zone_or_offset(declared.zone) if declared.zone else UTC
    local = time.replace(tzinfo=UTC).astimezone(zone)
    if declared.format:
        text = local.strftime(declared.format)
    elif len(declared.fields) > 1:
        text = local.strftime("%Y-%m-%d %H:%M:%S.%f")
    else:
        # The offset tells apart the two hours that have one name.
        text = local.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return text.split(" ", len(declared.fields) - 1)


def representable(metric: Metric, value: Value) -> Value:
    """Return the nearest value that a payload can have."""
    is_reshaped = metric.bytes is not None or metric.base or metric.scale != 1 or metric.offset
    if not metric.is_quantity or not is_reshaped or metric.map:
        return value
    number: float = _unscaled(metric, value)
    if metric.base:
        number = abs(round(number))
    if metric.bytes is not None:
        number = _within(metric.bytes, number)
    exact = Decimal(repr(number)) * Decimal(repr(metric.scale)) + Decimal(repr(metric.offset))
    return float(exact) if metric.type == "number" else round(exact)


def _within(declared: BytesAt, number: float) -> float:
    """Return the nearest number that has this format."""
    kind = struct.Struct(declared.format)
    if declared.kind.startswith("f"):
        nearest: float = kind.unpack(kind.pack(number))[0]
        return nearest
    bits = 8 * kind.size
    if declared.kind.startswith("u"):
        return float(min(max(round(number), 0), 2**bits - 1))
    limit = 2 ** (bits - 1)
    return float(min(max(round(number), -limit), limit - 1))


def raw(metric: Metric, value: Value, found: Any = MISSING) -> Any:
    """Return what a payload has for a value of a metric.

    `found` is what it has at that place for metrics that are in the same text or array.
    """
    written: Any = value
    words = [word for word, meaning in metric.map.items() if _is_same(meaning, value)]
    if words:
        written = words[0]
    elif metric.is_quantity and (metric.scale != 1 or metric.offset):
        written = _unscaled(metric, value)
    if metric.base:
        written = f"{int(written):{ {2: 'b', 8: 'o', 16: 'X'}[metric.base] }}"
    if metric.bytes is not None:
        written = _bytes(metric.bytes, written, found)
    if metric.item is not None:
        written = _pieces(metric, written, found)
    return written


def _is_same(meaning: Value, value: Value) -> bool:
    return meaning == value and isinstance(meaning, bool) is isinstance(value, bool)


def _unscaled(metric: Metric, value: Value) -> float:
    exact = (Decimal(str(value)) - Decimal(repr(metric.offset))) / Decimal(repr(metric.scale))
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _bytes(declared: BytesAt, number: Any, found: Any) -> str:
    kind = struct.Struct(declared.format)
    is_hex = declared.encoding == "hex"
    content = bytearray()
    if isinstance(found, str):
        content += bytes.fromhex(found) if is_hex else base64.b64decode(found)
    content += bytes(max(0, declared.at + kind.size - len(content)))
    whole = number if declared.kind.startswith("f") else round(number)
    kind.pack_into(content, declared.at, whole)
    return content.hex().upper() if is_hex else base64.b64encode(content).decode()


def _pieces(metric: Metric, piece: Any, found: Any) -> Any:
    item = metric.item or 0
    pieces: list[Any] = []
    if isinstance(found, str) and metric.split:
        pieces = list(found.split(metric.split))
    elif isinstance(found, list):
        pieces = found
    size = item + 1 if item >= 0 else -item
    pieces += [None if not metric.split else ""] * (size - len(pieces))
    pieces[item] = piece
    if not metric.split:
        return pieces
    return metric.split.join(str(one) for one in pieces)


def _write(
    document: JsonObject, root: Sequence[str | int], path: Path, metric: Metric, value: Value
) -> None:
    keys = (*root, *path.keys)
    found: Any = MISSING
    if metric.bytes is not None or metric.item is not None:  # it may share its place with others
        found = Path("", keys).find(document, document)
    _place(document, keys, raw(metric, value, found))


def _place(document: Any, keys: Sequence[Any], value: Any) -> None:
    """Set a value, and make the objects and arrays on the way."""
    here: Any = document
    for index, key in enumerate(keys):
        if isinstance(key, int):
            here += [None] * (key + 1 - len(here) if key >= 0 else -key - len(here))
        if index == len(keys) - 1:
            here[key] = value
            return
        inner = here[key] if isinstance(here, list) else here.get(key)
        if not isinstance(inner, dict | list):
            inner = here[key] = [] if isinstance(keys[index + 1], int) else {}
        here = inner
