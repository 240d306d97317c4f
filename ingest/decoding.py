"""Decoding: the bytes of one payload to what it says.

A clean payload is decoded by one typed decoder per stream. Whatever that refuses is decoded once
more without types and looked at field by field, which converts what may be converted and names the fault.
"""

import re
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from ingest.identity import text_fault
from streams.stream import Metric, Stream
from utils.text import printable

MAX_PAYLOAD = 65_536
"""Bytes; a reading is far smaller."""
UNSET = msgspec.UNSET
BOM = b"\xef\xbb\xbf"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_BARE = ("invalid_json", "number_out_of_range")
"""What a text without quotes is as JSON."""
Values = tuple[float | str | None, ...]


class Fault(Exception):
    """What is wrong with a payload: a reason code, and a sentence that names the field and shows the value."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Fields(NamedTuple):
    """What a payload says, before it is judged; device and timestamp are UNSET where it does not say them."""

    device: Any
    timestamp: Any
    values: Values


def shown(value: object) -> str:
    """A value as JSON for a sentence, shortened to 60 characters."""
    text = printable(msgspec.json.encode(value).decode())
    return text if len(text) <= 60 else f"{text[:60]}…"


def wide_reader(stream: Stream) -> Callable[[bytes], Fields]:
    """A reader of objects that have the metrics as fields. It raises Fault."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_wide_struct(stream))
    names = [f"m{index}" for index in range(len(stream.metrics))]
    pick = attrgetter(*names) if len(names) > 1 else lambda holder: (getattr(holder, names[0]),)
    plain = all(_is_required(stream, metric) and metric.type == "number" for metric in stream.metrics)

    def read(payload: bytes) -> Fields:
        # The typed decoder does not look into fields that it ignores; those need the second look.
        if len(payload) > MAX_PAYLOAD or b"\\u" in payload or not payload.isascii():
            return _wide_fields(stream, decode_untyped(payload))
        try:
            decoded = decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return _wide_fields(stream, decode_untyped(payload))
        values = pick(decoded.values if stream.values else decoded)
        if not plain:
            values = tuple([None if value is UNSET else value for value in values])
            _check_values(stream, values)
        return Fields(decoded.device, decoded.timestamp, values)

    return read


def _is_required(stream: Stream, metric: Metric) -> bool:
    # Where each metric has a topic of its own, no message has all of them.
    return metric.required and not stream.topic.has_metric


def _wide_struct(stream: Stream) -> type[msgspec.Struct]:
    own = [("device", str | msgspec.UnsetType, UNSET), ("timestamp", datetime | float | msgspec.UnsetType, UNSET)]
    renamed = {"device": stream.device, "timestamp": stream.timestamp.field}
    metrics: list[Any] = []
    for index, metric in enumerate(stream.metrics):
        kind: Any = float if metric.type == "number" else str
        if _is_required(stream, metric):
            metrics.append((f"m{index}", kind))
        else:
            metrics.append((f"m{index}", kind | msgspec.UnsetType, UNSET))
    names = {f"m{index}": metric.name for index, metric in enumerate(stream.metrics)}
    if not stream.values:
        return msgspec.defstruct("Wide", [*metrics, *own], rename=renamed | names, kw_only=True)
    inner = msgspec.defstruct("Values", metrics, rename=names, kw_only=True)
    return msgspec.defstruct(
        "Wide", [("values", inner), *own], rename=renamed | {"values": stream.values}, kw_only=True
    )


def single_reader(stream: Stream, metric: Metric) -> Callable[[bytes], Fields]:
    """A reader of payloads that are one metric's value, bare or as `{"value": …}`."""
    position = stream.metrics.index(metric)
    before, after = (None,) * position, (None,) * (len(stream.metrics) - position - 1)

    def read(payload: bytes) -> Fields:
        try:
            decoded = decode_untyped(payload)
        except Fault as fault:
            bare = payload.removeprefix(BOM).strip()
            if metric.type != "text" or fault.reason not in _BARE or bare[:1] in b'{["':
                raise
            decoded = bare.decode()
        fields = decoded if isinstance(decoded, dict) else {"value": decoded}
        if "value" not in fields:
            raise Fault("missing_field", "value: missing")
        value = _value(metric, "value", fields["value"])
        return Fields(
            fields.get(stream.device, UNSET), fields.get(stream.timestamp.field, UNSET), (*before, value, *after)
        )

    return read


def _wide_fields(stream: Stream, decoded: Any) -> Fields:
    """Look at an untyped payload field by field. Raises Fault for the first one that is wrong."""
    if not isinstance(decoded, dict):
        raise Fault("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    holder = decoded
    if stream.values:
        if stream.values not in decoded:
            raise Fault("missing_field", f"{stream.values}: missing")
        holder = decoded[stream.values]
        if not isinstance(holder, dict):
            raise Fault("not_an_object", f"{stream.values}: expected a JSON object, not {shown(holder)}")
    values: list[float | str | None] = []
    for metric in stream.metrics:
        if metric.name in holder:
            values.append(_value(metric, metric.name, holder[metric.name]))
        elif _is_required(stream, metric):
            raise Fault("missing_field", f"{metric.name}: missing")
        else:
            values.append(None)
    _check_values(stream, tuple(values))
    return Fields(decoded.get(stream.device, UNSET), decoded.get(stream.timestamp.field, UNSET), tuple(values))


def _check_values(stream: Stream, values: tuple[float | str | None, ...]) -> None:
    if all(value is None for value in values):
        names = ", ".join(metric.name for metric in stream.metrics)
        raise Fault("missing_field", f"none of the metrics is there: {names}")
    for metric, value in zip(stream.metrics, values, strict=True):
        if isinstance(value, str) and (fault := text_fault(value)):
            raise Fault("invalid_text", f"{metric.name}: {fault}")


def _value(metric: Metric, field: str, value: Any) -> float | str:
    if metric.type == "text":
        if not isinstance(value, str):
            raise Fault("not_text", f"{field}: not a text: {shown(value)}")
        if fault := text_fault(value):
            raise Fault("invalid_text", f"{field}: {fault}")
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and len(value) <= 400 and _NUMBER.fullmatch(value)):
        raise Fault("not_a_number", f"{field}: not a number: {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number in (float("inf"), float("-inf")):
        raise Fault("number_out_of_range", f"{field}: too large to be stored: {shown(value)}")
    return number


def decode_untyped(payload: bytes) -> Any:
    """Read JSON of any shape. Raises Fault."""
    text = _text(payload)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if "out of range" in str(error):
            raise Fault("number_out_of_range", "a number is too large to be stored") from error
        raise Fault("invalid_json", str(error).replace("JSON is malformed: ", "not valid JSON: ")) from error
    except RecursionError as error:
        raise Fault("too_deep", "the JSON is nested too deeply") from error


def _text(payload: bytes) -> bytes:
    payload = payload.removeprefix(BOM)
    if not payload.strip():
        raise Fault("empty_payload", "the payload is empty")
    if len(payload) > MAX_PAYLOAD:
        raise Fault("too_large", f"{len(payload)} bytes; at most {MAX_PAYLOAD} are allowed")
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise Fault("invalid_utf8", f"byte {error.start} is not valid UTF-8") from error
    if _NUL.search(payload):
        raise Fault("invalid_text", "a NUL character (\\u0000) cannot be stored")
    return payload
