"""Decoding: turn the bytes of a payload into its fields.

A clean payload is decoded by one typed decoder per stream. A payload that this refuses is decoded
again without types and checked field by field, which converts what can be converted and names the
error.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, assert_never

import msgspec

from ingest.fields import UNSET, Fields
from ingest.json_payloads import MAX_PAYLOAD
from ingest.untyped import Found, LevelReader, UntypedReader
from streams.metric import MAX_INTEGER, Metric, MetricType, Values
from streams.stream import Stream
from utils.exact_numbers import EXACT
from utils.identity import text_fault

NO_FIELD = "\uffff"
"""The name of a field that no payload has: a typed decoder reads ASCII only."""
# A number too small for a float has at least this many zeros, or an exponent of three digits.
_MANY = 224
_TINY = re.compile(rb"[eE]-\d{3}").search
# Part of a negative zero and of a three-digit negative exponent. It is fast, and zeros are common.
_MINUS = re.compile(rb"-(?:0(?!\d)|\d{3})").search
# A larger integer may differ from the nearest float, so it is decoded without types.
_Number = Annotated[float, msgspec.Meta(gt=-EXACT, lt=EXACT)]
_Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER - 1, le=MAX_INTEGER)]
_Time = datetime | int | float | msgspec.UnsetType


def wide_decoder(stream: Stream) -> Callable[[bytes], Found]:
    """Return a decoder of objects with the metrics as fields.

    The decoder raises PayloadError, NotConcerned.
    """
    read_untyped = UntypedReader(stream).read
    if not stream.is_plain:
        return read_untyped
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_wide_struct(stream))
    names = [f"m{index}" for index in range(len(stream.metrics))]
    pick = attrgetter(*names) if len(names) > 1 else lambda holder: (getattr(holder, names[0]),)
    is_text = any(metric.type == "text" for metric in stream.metrics)
    plain = not is_text and not stream.lackable

    def read(payload: bytes) -> Found:
        # The same as `_is_clean`, inlined because the call would double its cost.
        if len(payload) > MAX_PAYLOAD or b"\\u" in payload or not payload.isascii():
            return read_untyped(payload)
        try:
            decoded = decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return read_untyped(payload)
        values = pick(decoded.values if stream.values else decoded)
        if 0.0 in values and (_MINUS(payload) is not None or len(payload) > _MANY):
            if _may_be_tiny(payload):
                return read_untyped(payload)
            values = tuple([_without_sign(value) for value in values])
        if not plain:
            if None in values:
                return read_untyped(payload)  # which tells what is missing
            values = tuple([None if value is UNSET else value for value in values])
            if _needs_another_look(values):
                return read_untyped(payload)
        timestamp = decoded.timestamp
        return Fields(decoded.device, UNSET if timestamp is None else timestamp, values)

    return read


def _is_clean(payload: bytes) -> bool:
    # A typed decoder does not check the fields that it ignores, so other payloads are read untyped.
    return len(payload) <= MAX_PAYLOAD and b"\\u" not in payload and payload.isascii()


def _without_sign(value: Any) -> Any:
    return 0.0 if value == 0.0 and type(value) is float else value


def _may_be_tiny(payload: bytes) -> bool:
    """Return whether a zero may be a number that is too small for a float."""
    return b"0" * _MANY in payload or _TINY(payload) is not None


def _needs_another_look(values: Values) -> bool:
    present = [value for value in values if value is not None]
    return not present or any(isinstance(value, str) and text_fault(value) for value in present)


def _wide_struct(stream: Stream) -> type[msgspec.Struct]:
    own = _own_fields(stream)
    renamed = {"device": stream.device or NO_FIELD, "timestamp": stream.timestamp.name}
    metrics: list[Any] = []
    for index, metric in enumerate(stream.metrics):
        kind = _json_type(metric.type)
        if metric in stream.lackable:
            metrics.append((f"m{index}", kind | None | msgspec.UnsetType, UNSET))
        else:
            metrics.append((f"m{index}", kind))
    names = {f"m{index}": metric.name for index, metric in enumerate(stream.metrics)}
    if not stream.values:
        return msgspec.defstruct("Wide", [*metrics, *own], rename=renamed | names, kw_only=True)
    inner = msgspec.defstruct("Values", metrics, rename=names, kw_only=True)
    return msgspec.defstruct(
        "Wide", [("values", inner), *own], rename=renamed | {"values": stream.values}, kw_only=True
    )


def _json_type(kind: MetricType) -> Any:
    match kind:
        case "number":
            return _Number
        case "text":
            return str
        case "boolean":
            return bool
        case "integer":
            return _Integer
        case _:
            assert_never(kind)


def _own_fields(stream: Stream) -> list[Any]:
    time: Any = _Time if stream.timestamp.required else _Time | None
    return [("device", str | int | msgspec.UnsetType, UNSET), ("timestamp", time, UNSET)]


def level_decoder(stream: Stream, metrics: Sequence[Metric]) -> Callable[[bytes], Found]:
    """Return a decoder of payloads with one value, bare or as `{"value": …}`.

    It is the value of all these metrics. The decoder raises PayloadError, NotConcerned.
    """
    reader = LevelReader(stream, metrics)
    metric = metrics[0]
    if len(metrics) > 1 or metric.type != "number" or not stream.is_plain:
        return reader.read
    clean = msgspec.json.Decoder(_Number | _single_struct(stream)).decode
    position = stream.metrics.index(metric)
    before, after = (None,) * position, (None,) * (len(stream.metrics) - position - 1)

    def read(payload: bytes) -> Found:
        if not _is_clean(payload):
            return reader.read(payload)
        try:
            decoded: Any = clean(payload)
        except (msgspec.DecodeError, RecursionError):
            return reader.read(payload)
        bare = isinstance(decoded, float)
        value = decoded if bare else decoded.value
        if not value:
            if _may_be_tiny(payload):
                return reader.read(payload)
            value = 0.0
        if bare:
            return Fields(UNSET, UNSET, (*before, value, *after))
        time = UNSET if decoded.timestamp is None else decoded.timestamp
        return Fields(decoded.device, time, (*before, value, *after))

    return read


def _single_struct(stream: Stream) -> type[msgspec.Struct]:
    fields = [("value", _Number), *_own_fields(stream)]
    renamed = {"device": stream.device or NO_FIELD, "timestamp": stream.timestamp.name}
    return msgspec.defstruct("Single", fields, rename=renamed, kw_only=True)
