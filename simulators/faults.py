"""Payloads that are broken on purpose; every reader must reject them."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, assert_never

from streams.metric import Metric
from streams.stream import Stream

Body = dict[str, Any]
Fault = Callable[[Stream, Body, Random], bytes]
NOT_UTF8 = b"\xc3\x28"
_BROKEN_NUMBERS = (
    b"",
    NOT_UTF8,
    b"-Infinity",
    b"abc",
    b"true",
    b'{"value":',
    b"12,5",
    b"1e999",
)
_BROKEN_BOOLEANS = (b"", NOT_UTF8, b"abc", b"2", b'{"value":', b"on/off")
# On the topic of a metric a text needs no quotes, so almost any payload is valid.
_BROKEN_TEXTS = (b"", NOT_UTF8)


def spoil_reading(stream: Stream, body: Any, random: Random) -> bytes:
    """Return a reading's JSON, broken in one of the ways that its stream allows."""
    if not stream.is_plain:
        # Whatever else is wrong may be in a field that the stream does not read there.
        return random.choice((_empty, _truncated, _not_utf8))(stream, body, random)
    faults: list[Fault] = [_empty, _truncated, _not_utf8, _not_an_object]
    if _numbers(stream):
        faults += [_not_a_number, _nan]
    if _required(stream):
        faults.append(_missing)
    return random.choice(faults)(stream, body, random)


def spoil_value(metric: Metric, random: Random) -> bytes:
    """Return a broken payload for a topic that carries one metric."""
    match metric.type:
        case "number" | "integer":
            return random.choice(_BROKEN_NUMBERS)
        case "boolean":
            return random.choice(_BROKEN_BOOLEANS)
        case "text":
            return random.choice(_BROKEN_TEXTS)
        case _:
            assert_never(metric.type)


def _empty(_stream: Stream, _body: Body, _random: Random) -> bytes:
    return b""


def _truncated(_stream: Stream, body: Body, random: Random) -> bytes:
    payload = _encode(body)
    return payload[: random.randrange(1, len(payload))]


def _not_utf8(_stream: Stream, body: Body, _random: Random) -> bytes:
    return NOT_UTF8 + _encode(body)


def _not_an_object(_stream: Stream, body: Body, _random: Random) -> bytes:
    return _encode(list(body.values()))


def _not_a_number(stream: Stream, body: Body, random: Random) -> bytes:
    wrong = random.choice(("abc", True, None, [1], "1_000"))
    return _encode(_with(stream, body, random.choice(_numbers(stream)), wrong))


def _nan(stream: Stream, body: Body, random: Random) -> bytes:
    wrong = float(random.choice(("nan", "inf", "-inf")))
    return _encode(_with(stream, body, random.choice(_numbers(stream)), wrong))


def _numbers(stream: Stream) -> list[Metric]:
    """Return the required numbers; an invalid value of an optional metric is no error."""
    return [metric for metric in stream.metrics if metric.is_quantity and metric.required]


def _missing(stream: Stream, body: Body, random: Random) -> bytes:
    name = random.choice(_required(stream))
    return _encode({key: _without(value, name) for key, value in body.items() if key != name})


def _without(value: object, name: str) -> object:
    return (
        {key: item for key, item in value.items() if key != name}
        if isinstance(value, dict)
        else value
    )


def _required(stream: Stream) -> list[str]:
    names = [metric.name for metric in stream.metrics if metric.required]
    if stream.timestamp.required:
        names.append(stream.timestamp.name)
    if not stream.is_named_by_topic and not stream.device_default:
        names.append(stream.device)
    return names


def _with(stream: Stream, body: Body, metric: Metric, value: object) -> Body:
    nested = body.get(stream.values)
    if stream.values and isinstance(nested, dict):
        return {**body, stream.values: {**nested, metric.name: value}}
    return {**body, metric.name: value}


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
