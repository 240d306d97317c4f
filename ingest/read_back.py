"""Write readings of a stream and read them back: what is not the same cannot be simulated."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from broker.message import Message
from ingest.certificates import Certificates
from ingest.message import Ignored, Reading, Rejection, Several
from ingest.payload import StreamParser
from ingest.showing import shown
from streams.metric import Value
from streams.rest import BARE
from streams.sample_values import average_values, distinct_values
from streams.stream import Stream
from streams.writing import PayloadWriter

_TIME = datetime(2026, 1, 29, 14, 30, 45, 123456)
_RECEIVED_AT = _TIME + timedelta(seconds=1)


class _Written(NamedTuple):
    """A payload, and the reading that it should be."""

    device_id: str
    level: str | None
    payload: bytes
    values: Mapping[str, Value]
    time: datetime | None
    """None if the payload has no place for it."""


def unwritable(stream: Stream) -> str:
    """Return why readings that are written are not read back the same, or an empty text."""
    try:
        parser = StreamParser(stream, _TIME, Certificates())
        differences = (_difference(stream, parser, one) for one in _samples(stream))
        return next(filter(None, differences), "")
    except ValueError as error:
        return str(error)


def _samples(stream: Stream) -> Iterator[_Written]:
    """Yield payloads with several values. Raises ValueError."""
    writer = PayloadWriter(stream)
    time = writer.time.representable(_TIME)
    device_id = "-".join(f"d{number}" for number in range(max(1, len(stream.device_parts))))
    named = device_id if stream.is_named_by_payload else None
    for values in (average_values(stream), *distinct_values(stream)):
        if not stream.topic.has_metric:
            payload = writer.payload(values, time, named)
            if not stream.metrics:
                payload |= {BARE: 1.0}
            own_time = time if writer.has_time else None
            yield _Written(device_id, None, _encoded(payload), values, own_time)
            continue
        for metric in stream.metrics:
            value = values[metric.name]
            payload = writer.single(metric, value, time, named)
            alone = {metric.name: value}
            yield _Written(device_id, metric.level, _encoded(payload), alone, time)


def _encoded(payload: object) -> bytes:
    return json.dumps(payload).encode()


def _difference(stream: Stream, parser: StreamParser, written: _Written) -> str:
    """Return what is read otherwise than it was written, or an empty text."""
    topic = stream.topic_of(written.device_id, written.level or "")
    message = Message(topic, written.payload, _RECEIVED_AT)
    matched = re.fullmatch(stream.topic.regex(), topic)
    parts = stream.topic.parts(matched.groupdict() if matched else {})
    found = parser.parse(message, stream.device_of(parts), parts.level, parts.names)
    match found:
        case Rejection():
            return f"what is written is rejected: {found.text}"
        case Ignored():
            return f"what is written is ignored: {found.reason}"
        case Several(readings=[reading], rejections=[]):
            return _difference_of(reading, written)
        case Several():
            count = len(found.readings) + len(found.rejections)
            return f"what is written is read as {count} readings"
        case Reading():
            return _difference_of(found, written)


def _difference_of(found: Reading, written: _Written) -> str:
    if found.unread:
        return found.unread[0]
    names = [metric.name for metric in found.stream.metrics]
    for name, value in zip(names, found.values, strict=True):
        if value != written.values.get(name):
            return f"{name} is {shown(written.values.get(name))}, and is read as {shown(value)}"
    if found.device_id != written.device_id:
        return f"the device is {written.device_id}, and is read as {found.device_id}"
    time = found.timestamp if found.own_time else None
    return "" if time == written.time else "its time is read as another"
