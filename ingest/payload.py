"""Parsing: turn a message into a `Reading`, a `Rejection` or another result; pure."""

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from broker.message import Message
from ingest.decoding import level_decoder, wide_decoder
from ingest.device_messages import DeviceMessages
from ingest.fields import UNSET, NotConcerned
from ingest.kinds import Readable
from ingest.message import DeviceMessage, Ignored, Parsed, Reading, Rejection
from ingest.sender import SenderFinder
from ingest.values import NUMBER, PayloadError, shown
from models import EMPTY, EXCLUDED, OWN, RETAINED
from streams.checks import MAX_STREAM_NAME
from streams.registry import Streams
from streams.stream import Stream
from utils import clock
from utils.identity import device_id_fault
from utils.text import printable

EARLIEST = datetime(2020, 1, 1)
"""Earlier times are not believed; a clock may show them after a change of its battery."""
AHEAD = timedelta(days=400)
"""How far the server's clock may be behind; times further ahead, such as 2106, mean no time."""


# An exponent, or only zeros as decimals; numbers with other decimals are read digit by digit.
_FLOAT = re.compile(r"[+-]?\d{1,20}(\.\d{0,20}[eE][+-]?\d{1,3}|[eE][+-]?\d{1,3}|\.0*)", re.ASCII)


class StreamParser:
    """Parses the payloads of one stream."""

    def __init__(self, stream: Stream, earliest: datetime) -> None:
        self._stream = stream
        self._earliest = earliest
        self._wide = wide_decoder(stream)
        self._sender = SenderFinder(stream)
        self._single = {
            level: level_decoder(stream, [m for m in stream.metrics if m.name in names])
            for level, names in stream.topic.metric_levels.items()
        }

    def parse(
        self, message: Message, device_id: str | None, level: str | None
    ) -> Reading | Rejection | Ignored:
        """Parse a payload; `device_id` and `level` are from the topic, None if not in it."""
        stream = self._stream
        decode = self._wide if level is None else self._single[level]
        received_at = message.received_at
        try:
            fields = decode(message.payload)
            device = _device(stream, device_id, fields.device)
            timestamp, claimed, stated = _time(
                stream, fields.timestamp, received_at, self._earliest
            )
        except PayloadError as error:
            sender = self._sender.of(device_id, message.payload)
            return Rejection(stream.name, error.reason, str(error), message, sender)
        except NotConcerned as ignored:
            return Ignored(str(ignored), message)
        own = timestamp is not None
        measured_at = received_at if timestamp is None else timestamp
        if own and (message.redelivered or message.retained):
            stated = measured_at
        return Reading(
            stream, device, measured_at, claimed, fields.values, message, own, fields.unread, stated
        )


class Parser:
    """Parses the messages of all streams, and the other device messages with `kinds`.

    A device's time before `earliest` is not believed.
    """

    def __init__(
        self, streams: Streams, kinds: Sequence[Readable] = (), earliest: datetime = EARLIEST
    ) -> None:
        self._streams = streams
        self._parsers = {stream.name: StreamParser(stream, earliest) for stream in streams}
        self._device_messages = DeviceMessages(kinds)

    def parse(self, message: Message) -> Parsed:
        """Find the stream or kind that the topic belongs to, and parse the payload."""
        found = self._streams.match(message.topic) if message.valid_topic else None
        parsed: Parsed
        if found is None:
            parsed = self._other(message)
        else:
            stream, device_id, level, is_excluded = found
            if is_excluded:
                return Ignored(EXCLUDED, message)
            parsed = self._parsers[stream.name].parse(message, device_id, level)
        return parsed if message.payload and not message.retained else _of_retained(parsed)

    def concerning(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages that are not on topics on which AutoForge publishes."""
        own = self._streams.own_topics
        roots = own.roots
        return [one for one in messages if not (one.topic.startswith(roots) and one.topic in own)]

    def _other(self, message: Message) -> DeviceMessage | Rejection | Ignored:
        if not message.valid_topic:
            return Rejection(None, "invalid_topic", "the topic is not valid UTF-8", message)
        if (parsed := self._device_messages.parse(message)) is not None:
            return parsed
        if self._streams.own_topics.publishes(message.topic):
            return Ignored(OWN, message)
        if (unusable := self._streams.unusable_at(message.topic)) is not None:
            return Rejection(
                unusable.name[:MAX_STREAM_NAME], "stream_unusable", unusable.reason, message
            )
        return self._unknown(message)

    def _unknown(self, message: Message) -> Rejection:
        stream = self._streams.undeclared(message.topic)
        if stream is None:
            return Rejection(None, "unknown_topic", "no declared stream has this topic", message)
        known = ", ".join(stream.topic.metric_levels)
        text = f"the stream {stream.name} has no metric with this topic; its metrics are {known}"
        return Rejection(stream.name, "unknown_topic", text, message)

    def parse_for(
        self, stream: Stream, message: Message, device_id: str | None, level: str | None
    ) -> Reading | Rejection | Ignored:
        """Parse a payload of this stream, whatever its topic; for HTTP."""
        return self._parsers[stream.name].parse(message, device_id, level)


def _of_retained(parsed: Parsed) -> Parsed:
    """Ignore a retained message without a time, and an empty one, which clears a retained one."""
    if isinstance(parsed, Rejection) and not parsed.message.payload:
        return Ignored(EMPTY, parsed.message)
    if not isinstance(parsed, Reading) or not parsed.message.retained:
        return parsed
    match parsed.stream.shape.retained:
        case "timed":
            is_reading = parsed.own_time  # otherwise the time of the measurement is unknown
        case "store":
            is_reading = True
        case "ignore":
            is_reading = False
    return parsed if is_reading else Ignored(RETAINED, parsed.message)


def _device(stream: Stream, from_topic: str | None, stated: Any) -> str:
    if isinstance(stated, int) and not isinstance(stated, bool):
        stated = str(stated)
    if stated is UNSET or stated is None:
        device = from_topic if from_topic is not None else stream.device_default
        if not device and from_topic is None:
            missing = f"{stream.device}: missing, and nothing else names the device"
            raise PayloadError("missing_device", missing)
    elif not isinstance(stated, str):
        raise PayloadError("invalid_device_id", f"{stream.device}: not a text: {shown(stated)}")
    elif from_topic is not None and stated != from_topic:
        both = f"{shown(stated)}, but the topic says {shown(from_topic)}"
        raise PayloadError("device_mismatch", f"{stream.device}: {both}")
    else:
        device = stated
    if fault := device_id_fault(device):
        raise PayloadError("invalid_device_id", f"{stream.device}: {fault}")
    return device


def _time(
    stream: Stream, stated: Any, received_at: datetime, earliest: datetime
) -> tuple[datetime | None, str | None, datetime | None]:
    """Return the device's time if it is believed.

    Otherwise return None, what the device stated as text, and its time if that is ahead.
    """
    field = stream.timestamp.field
    if stated is UNSET:
        if stream.timestamp.required:
            raise PayloadError("missing_field", f"{field}: missing")
        return None, None, None
    try:
        measured_at = _parsed_time(stated)
    except (clock.NoTimeOfDay, clock.OffTheCalendar):
        return None, _unbelieved(stated), None
    except ValueError as error:
        if stream.timestamp.required:
            raise PayloadError("invalid_timestamp", f"{field}: {error}") from error
        is_blank = isinstance(stated, str) and not stated.strip()
        return None, None if is_blank else _unbelieved(stated), None
    if earliest <= measured_at <= received_at + clock.MAX_AHEAD:
        return measured_at, None, None
    if received_at < measured_at <= received_at + AHEAD:
        # In this form it is found when the reading comes again.
        return None, clock.rfc3339(measured_at), measured_at
    return None, _unbelieved(stated) if _is_number(stated) else clock.rfc3339(measured_at), None


def _is_number(stated: Any) -> bool:
    """Return whether a time was stated as a number, which may be seconds since the start."""
    if isinstance(stated, str):
        return NUMBER.fullmatch(stated.strip()) is not None
    return not isinstance(stated, datetime)


def _unbelieved(stated: Any) -> str:
    """Return a time that is not believed, as it was stated, in at most 64 characters."""
    if isinstance(stated, datetime):
        return stated.isoformat()
    if isinstance(stated, float) and math.isfinite(stated):
        return repr(float(stated))  # only one of the decoders knows its spelling
    return (printable(stated[:64]) if isinstance(stated, str) else shown(stated))[:64]


def _parsed_time(stated: Any) -> datetime:
    """Parse a stated time. Raises NoTimeOfDay, OffTheCalendar or another ValueError."""
    if isinstance(stated, datetime):
        return clock.naive_utc(stated)
    if isinstance(stated, bool) or not isinstance(stated, str | int | float):
        raise ValueError(f"not a time: {shown(stated)}")  # noqa: TRY004 - bad input
    return _of_text(stated.strip()) if isinstance(stated, str) else _of_number(stated)


def _of_number(number: float) -> datetime:
    if not clock.is_compact(number):
        return clock.from_epoch(number)
    return _of_text(str(int(number) if number == int(number) else float(number)))


def _of_text(text: str) -> datetime:
    try:
        return clock.naive_utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError:
        if clock.is_date(text):
            raise clock.NoTimeOfDay(text) from None
        if _FLOAT.fullmatch(text):
            return _of_number(float(text))
        measured_at = clock.parse(text)
        if clock.is_hour(text):
            raise clock.NoTimeOfDay(text) from None
        return measured_at
