"""Decoding: the bytes of one payload to what it says.

A clean payload is decoded by one typed decoder per stream. Whatever that refuses is decoded once
more without types and looked at field by field, which converts what may be converted and names the fault.
"""

import re
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec

from ingest.identity import text_fault
from ingest.values import EXACT, PayloadError, Spelled, is_no_value, number, shortened, shown, stored, text
from streams.stream import Metric, Stream
from utils import lenient_json
from utils.lenient_json import BOM

MAX_PAYLOAD = 65_536
"""Bytes; a reading is far smaller."""
UNSET = msgspec.UNSET
Values = tuple[float | str | None, ...]
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_MANY = 224
"""So many zeros a number that is too small has at least, unless its exponent has three digits."""
_TINY = re.compile(rb"[eE]-\d{3}").search
# What a zero with a sign, or with such an exponent, has in it: payloads have zeros often, and this is found soonest.
_MINUS = re.compile(rb"-(?:0(?!\d)|\d{3})").search
# The float that is nearest to a larger whole number may be another number; those get the second look.
_Number = Annotated[float, msgspec.Meta(gt=-EXACT, lt=EXACT)]
_Time = datetime | int | float | msgspec.UnsetType
_SPELLED: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Spelled)


class Fields(NamedTuple):
    """What a payload says, before it is judged; device and timestamp are UNSET where it does not say them."""

    device: Any
    timestamp: Any
    values: Values
    unread: tuple[str, ...] = ()
    """What is wrong with the values of optional metrics that could not be read, which count as none."""


def wide_decoder(stream: Stream) -> Callable[[bytes], Fields]:
    """A reader of objects that have the metrics as fields. It raises Fault."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_wide_struct(stream))
    names = [f"m{index}" for index in range(len(stream.metrics))]
    pick = attrgetter(*names) if len(names) > 1 else lambda holder: (getattr(holder, names[0]),)
    plain = all(_is_required(stream, metric) and metric.type == "number" for metric in stream.metrics)

    def read(payload: bytes) -> Fields:
        # As `_is_clean`: a call costs as much as it does.
        if len(payload) > MAX_PAYLOAD or b"\\u" in payload or not payload.isascii():
            return _wide_fields(stream, _decode_reading(payload))
        try:
            decoded = decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return _wide_fields(stream, _decode_reading(payload))
        values = pick(decoded.values if stream.values else decoded)
        if 0.0 in values and (_MINUS(payload) is not None or len(payload) > _MANY):
            if _may_be_tiny(payload):
                return _wide_fields(stream, _decode_reading(payload))
            values = tuple([0.0 if value == 0.0 else value for value in values])
        if not plain:
            values = tuple([None if value is UNSET else value for value in values])
            if _needs_another_look(values):
                return _wide_fields(stream, _decode_reading(payload))
        timestamp = decoded.timestamp
        return Fields(decoded.device, UNSET if timestamp is None else timestamp, values)

    return read


def _is_clean(payload: bytes) -> bool:
    # A typed decoder does not look into fields that it ignores; those need the second look.
    return len(payload) <= MAX_PAYLOAD and b"\\u" not in payload and payload.isascii()


def _may_be_tiny(payload: bytes) -> bool:
    """Whether a zero may be what the decoder makes of a number that is too small."""
    return b"0" * _MANY in payload or _TINY(payload) is not None


def _is_required(stream: Stream, metric: Metric) -> bool:
    # Where each metric has a topic of its own, no message has all of them.
    return metric.required and not stream.topic.has_metric


def _needs_another_look(values: Values) -> bool:
    present = [value for value in values if value is not None]
    return not present or any(isinstance(value, str) and text_fault(value) for value in present)


def _wide_struct(stream: Stream) -> type[msgspec.Struct]:
    own = _own_fields(stream)
    renamed = {"device": stream.device, "timestamp": stream.timestamp.field}
    metrics: list[Any] = []
    for index, metric in enumerate(stream.metrics):
        kind: Any = _Number if metric.type == "number" else str
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


def _own_fields(stream: Stream) -> list[Any]:
    time: Any = _Time if stream.timestamp.required else _Time | None
    return [("device", str | int | msgspec.UnsetType, UNSET), ("timestamp", time, UNSET)]


def single_decoder(stream: Stream, metric: Metric) -> Callable[[bytes], Fields]:
    """A reader of payloads that are one metric's value, bare or as `{"value": …}`. It raises Fault."""
    clean = msgspec.json.Decoder(_Number | _single_struct(stream)).decode
    position = stream.metrics.index(metric)
    before, after = (None,) * position, (None,) * (len(stream.metrics) - position - 1)

    def look(payload: bytes) -> Fields:
        found = _checked(payload).strip()
        if not found.startswith(_JSON_OF[metric.type]):
            return Fields(UNSET, UNSET, (*before, _bare(metric, found.decode()), *after))
        decoded = _decode_reading(found)
        fields = decoded if isinstance(decoded, dict) else {"value": decoded}
        if "value" not in fields:
            raise PayloadError("missing_field", "value: missing")
        value = stored(metric, "value", fields["value"])
        return Fields(fields.get(stream.device, UNSET), _time_of(stream, fields), (*before, value, *after))

    def read(payload: bytes) -> Fields:
        if not _is_clean(payload):
            return look(payload)
        try:
            decoded: Any = clean(payload)
        except (msgspec.DecodeError, RecursionError):
            return look(payload)
        bare = isinstance(decoded, float)
        value = decoded if bare else decoded.value
        if not value:
            if _may_be_tiny(payload):
                return look(payload)
            value = 0.0
        if bare:
            return Fields(UNSET, UNSET, (*before, value, *after))
        return Fields(decoded.device, _stated_time(decoded.timestamp), (*before, value, *after))

    return look if metric.type == "text" else read


def _single_struct(stream: Stream) -> type[msgspec.Struct]:
    fields = [("value", _Number), *_own_fields(stream)]
    renamed = {"device": stream.device, "timestamp": stream.timestamp.field}
    return msgspec.defstruct("Single", fields, rename=renamed, kw_only=True)


# Whatever else a payload begins with, its bytes are the value.
_JSON_OF = {"number": (b"{", b"[", b'"'), "text": (b"{", b'"')}


def _bare(metric: Metric, value: str) -> float | str:
    return text("value", value) if metric.type == "text" else number("value", value, shortened(value))


def _wide_fields(stream: Stream, decoded: Any) -> Fields:
    """Look at an untyped payload field by field. Raises PayloadError for the first one that is wrong and required."""
    if not isinstance(decoded, dict):
        raise PayloadError("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    holder, unread = _holder(stream, decoded), []
    values: list[float | str | None] = []
    for metric in stream.metrics:
        try:
            values.append(_wide_value(metric, holder, required=_is_required(stream, metric)))
        except PayloadError as fault:
            if _is_required(stream, metric):
                raise
            values.append(None)
            unread.append(fault)
    if all(value is None for value in values):
        names = ", ".join(metric.name for metric in stream.metrics)
        raise unread[0] if unread else PayloadError("missing_field", f"none of the metrics is there: {names}")
    device, time = decoded.get(stream.device, UNSET), _time_of(stream, decoded)
    return Fields(device, time, tuple(values), tuple(map(str, unread)))


def _holder(stream: Stream, decoded: dict[str, Any]) -> dict[str, Any]:
    """The object that has the metrics. Raises PayloadError."""
    if not stream.values:
        return decoded
    if stream.values not in decoded:
        raise PayloadError("missing_field", f"{stream.values}: missing")
    holder = decoded[stream.values]
    if not isinstance(holder, dict):
        raise PayloadError("not_an_object", f"{stream.values}: expected a JSON object, not {shown(holder)}")
    return holder


def _wide_value(metric: Metric, holder: dict[str, Any], *, required: bool) -> float | str | None:
    if metric.name not in holder:
        if required:
            raise PayloadError("missing_field", f"{metric.name}: missing")
        return None
    value = holder[metric.name]
    return None if not required and is_no_value(metric, value) else stored(metric, metric.name, value)


def _time_of(stream: Stream, fields: dict[str, Any]) -> Any:
    stated = fields.get(stream.timestamp.field, UNSET)
    return stated if stream.timestamp.required else _stated_time(stated)


def _stated_time(value: Any) -> Any:
    return UNSET if value is None else value


def _decode_reading(payload: bytes) -> Any:
    """Read JSON of any shape, with numbers as devices write them. Raises PayloadError."""
    return _decode(payload, lambda found: lenient_json.decoded(found, _SPELLED.decode))


def decode_untyped(payload: bytes) -> Any:
    """Read JSON of any shape. Raises PayloadError."""
    return _decode(payload, msgspec.json.decode)


def _decode(payload: bytes, decode: Callable[[bytes], Any]) -> Any:
    found = _checked(payload)
    if _NUL.search(found):
        raise PayloadError("invalid_text", "a NUL character (\\u0000) cannot be stored")
    try:
        return decode(found)
    except msgspec.DecodeError as error:
        if "out of range" in str(error):
            raise PayloadError("number_out_of_range", "a number is too large to be stored") from error
        raise PayloadError("invalid_json", f"not valid JSON: {lenient_json.why(found)}") from error
    except RecursionError as error:
        raise PayloadError("too_deep", "the JSON is nested too deeply") from error


def _checked(payload: bytes) -> bytes:
    """The text of a payload. Raises PayloadError."""
    payload = payload.removeprefix(BOM)
    if not payload.strip():
        raise PayloadError("empty_payload", "the payload is empty")
    if len(payload) > MAX_PAYLOAD:
        raise PayloadError("too_large", f"{len(payload)} bytes; at most {MAX_PAYLOAD} are allowed")
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise PayloadError("invalid_utf8", f"byte {error.start} is not valid UTF-8") from error
    return payload
