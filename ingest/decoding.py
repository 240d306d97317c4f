"""Decoding: turn the bytes of a payload into its fields.

A clean payload is decoded by one typed decoder per stream. A payload that this refuses is decoded
again without types and checked field by field, which converts what can be converted and names the
error.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, assert_never

import msgspec

from ingest.json_payloads import MAX_PAYLOAD, checked, decode_reading
from ingest.values import (
    PayloadError,
    bare,
    is_no_value,
    shown,
    stored,
)
from streams.stream import MAX_INTEGER, Metric, MetricType, Stream, Value, Values
from utils.exact_numbers import EXACT
from utils.identity import text_fault

UNSET = msgspec.UNSET
NO_FIELD = "\0"
"""The name of a field that no payload has, because JSON with a NUL is refused."""
# A text as JSON, or the beginning of an object with a field, which may be broken.
_JSON = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"\Z|\{\s*(?:"|\}\Z)')
# A number too small for a float has at least this many zeros, or an exponent of three digits.
_MANY = 224
_TINY = re.compile(rb"[eE]-\d{3}").search
# Part of a negative zero and of a three-digit negative exponent. It is fast, and zeros are common.
_MINUS = re.compile(rb"-(?:0(?!\d)|\d{3})").search
# A larger integer may differ from the nearest float, so it is decoded without types.
_Number = Annotated[float, msgspec.Meta(gt=-EXACT, lt=EXACT)]
_Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER - 1, le=MAX_INTEGER)]
_Time = datetime | int | float | msgspec.UnsetType


class Fields(NamedTuple):
    """The fields of a payload before the checks; device and timestamp are UNSET if missing."""

    device: Any
    timestamp: Any
    values: Values
    unread: tuple[str, ...] = ()
    """The errors in values of optional metrics, which are stored as None."""


def wide_decoder(stream: Stream) -> Callable[[bytes], Fields]:
    """Return a decoder of objects with the metrics as fields, which raises PayloadError."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_wide_struct(stream))
    names = [f"m{index}" for index in range(len(stream.metrics))]
    pick = attrgetter(*names) if len(names) > 1 else lambda holder: (getattr(holder, names[0]),)
    is_text = any(metric.type == "text" for metric in stream.metrics)
    plain = not is_text and all(_is_required(stream, metric) for metric in stream.metrics)

    def read(payload: bytes) -> Fields:
        # The same as `_is_clean`, inlined because the call would double its cost.
        if len(payload) > MAX_PAYLOAD or b"\\u" in payload or not payload.isascii():
            return _wide_fields(stream, decode_reading(payload))
        try:
            decoded = decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return _wide_fields(stream, decode_reading(payload))
        values = pick(decoded.values if stream.values else decoded)
        if 0.0 in values and (_MINUS(payload) is not None or len(payload) > _MANY):
            if _may_be_tiny(payload):
                return _wide_fields(stream, decode_reading(payload))
            values = tuple([_without_sign(value) for value in values])
        if not plain:
            values = tuple([None if value is UNSET else value for value in values])
            if _needs_another_look(values):
                return _wide_fields(stream, decode_reading(payload))
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


def _is_required(stream: Stream, metric: Metric) -> bool:
    # If each metric has a topic of its own, no message has all metrics.
    return metric.required and not stream.topic.has_metric


def _needs_another_look(values: Values) -> bool:
    present = [value for value in values if value is not None]
    return not present or any(isinstance(value, str) and text_fault(value) for value in present)


def _wide_struct(stream: Stream) -> type[msgspec.Struct]:
    own = _own_fields(stream)
    renamed = {"device": stream.device or NO_FIELD, "timestamp": stream.timestamp.field}
    metrics: list[Any] = []
    for index, metric in enumerate(stream.metrics):
        kind = _json_type(metric.type)
        if _is_required(stream, metric):
            metrics.append((f"m{index}", kind))
        else:
            metrics.append((f"m{index}", kind | None | msgspec.UnsetType, UNSET))
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


def level_decoder(stream: Stream, metrics: Sequence[Metric]) -> Callable[[bytes], Fields]:
    """Return a decoder of payloads with one value, which is that of all these metrics.

    The decoder raises PayloadError.
    """
    single = [_single_decoder(stream, metric) for metric in metrics]
    if len(single) == 1:
        return single[0]
    return lambda payload: _together([decode(payload) for decode in single])


def _single_decoder(stream: Stream, metric: Metric) -> Callable[[bytes], Fields]:
    """Return a decoder of payloads with one value, bare or as `{"value": …}`."""
    clean = msgspec.json.Decoder(_Number | _single_struct(stream)).decode
    position = stream.metrics.index(metric)
    before, after = (None,) * position, (None,) * (len(stream.metrics) - position - 1)

    def read_untyped(payload: bytes) -> Fields:
        content = checked(payload)
        decoded = _json_of(content, metric.type)
        if decoded is UNSET:
            return Fields(UNSET, UNSET, (*before, bare(metric, content.decode()), *after))
        fields = decoded if isinstance(decoded, dict) else {"value": decoded}
        if "value" not in fields:
            raise PayloadError("missing_field", "value: missing")
        value = stored(metric, "value", fields["value"])
        device = fields.get(stream.device or NO_FIELD, UNSET)
        return Fields(device, _time_of(stream, fields), (*before, value, *after))

    def read(payload: bytes) -> Fields:
        if not _is_clean(payload):
            return read_untyped(payload)
        try:
            decoded: Any = clean(payload)
        except (msgspec.DecodeError, RecursionError):
            return read_untyped(payload)
        bare = isinstance(decoded, float)
        value = decoded if bare else decoded.value
        if not value:
            if _may_be_tiny(payload):
                return read_untyped(payload)
            value = 0.0
        if bare:
            return Fields(UNSET, UNSET, (*before, value, *after))
        return Fields(decoded.device, _stated_time(decoded.timestamp), (*before, value, *after))

    return read if metric.type == "number" else read_untyped


def _together(each: Sequence[Fields]) -> Fields:
    """Return the fields with the values of all metrics that share a topic."""
    columns = zip(*(fields.values for fields in each), strict=True)
    present = (next((one for one in values if one is not None), None) for values in columns)
    return each[0]._replace(values=tuple(present))


def _single_struct(stream: Stream) -> type[msgspec.Struct]:
    fields = [("value", _Number), *_own_fields(stream)]
    renamed = {"device": stream.device or NO_FIELD, "timestamp": stream.timestamp.field}
    return msgspec.defstruct("Single", fields, rename=renamed, kw_only=True)


def _json_of(content: bytes, kind: MetricType) -> Any:
    """Return the decoded JSON, or UNSET if the bytes are the value. Raises PayloadError."""
    content = content.strip()
    match kind:
        case "number" | "boolean" | "integer":
            return decode_reading(content) if content.startswith((b"{", b"[", b'"')) else UNSET
        case "text":
            return decode_reading(content) if _JSON.match(content) else UNSET
        case _:
            assert_never(kind)


def _wide_fields(stream: Stream, decoded: Any) -> Fields:
    """Check an untyped payload field by field.

    Raises PayloadError for the first required field that is wrong.
    """
    if not isinstance(decoded, dict):
        raise PayloadError("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    holder, unread = _holder(stream, decoded), []
    values: list[Value | None] = []
    for metric in stream.metrics:
        try:
            values.append(_wide_value(metric, holder, required=_is_required(stream, metric)))
        except PayloadError as error:
            if _is_required(stream, metric):
                raise
            values.append(None)
            unread.append(error)
    if all(value is None for value in values):
        names = ", ".join(metric.name for metric in stream.metrics)
        missing = PayloadError("missing_field", f"the payload has none of the metrics: {names}")
        raise unread[0] if unread else missing
    device = decoded.get(stream.device or NO_FIELD, UNSET)
    return Fields(device, _time_of(stream, decoded), tuple(values), tuple(map(str, unread)))


def _holder(stream: Stream, decoded: dict[str, Any]) -> dict[str, Any]:
    """Return the object that contains the metrics. Raises PayloadError."""
    if not stream.values:
        return decoded
    if stream.values not in decoded:
        raise PayloadError("missing_field", f"{stream.values}: missing")
    holder = decoded[stream.values]
    if not isinstance(holder, dict):
        message = f"{stream.values}: expected a JSON object, not {shown(holder)}"
        raise PayloadError("not_an_object", message)
    return holder


def _wide_value(metric: Metric, holder: dict[str, Any], *, required: bool) -> Value | None:
    if metric.name not in holder:
        if required:
            raise PayloadError("missing_field", f"{metric.name}: missing")
        return None
    value = holder[metric.name]
    if not required and is_no_value(metric, value):
        return None
    return stored(metric, metric.name, value)


def _time_of(stream: Stream, fields: dict[str, Any]) -> Any:
    stated = fields.get(stream.timestamp.field, UNSET)
    return stated if stream.timestamp.required else _stated_time(stated)


def _stated_time(value: Any) -> Any:
    return UNSET if value is None else value
