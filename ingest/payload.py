"""Parsing: the bytes of one message to a `Reading` or a `Rejection`; pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from broker.message import Message
from ingest.decoding import UNSET, single_decoder, wide_decoder
from ingest.device_messages import DeviceMessages
from ingest.identity import device_id_fault
from ingest.kinds import Readable
from ingest.message import DeviceMessage, Ignored, Parsed, Reading, Rejection
from ingest.sender import SenderFinder
from ingest.values import PayloadError, shown
from models import EMPTY, OWN, RETAINED
from streams.registry import Streams
from streams.stream import Stream
from utils import clock
from utils.text import printable

EARLIEST = datetime(2020, 1, 1)
"""Before it no program of this kind ran: what a clock shows after its battery was changed is not believed."""
AHEAD = timedelta(days=400)
"""How far the server's clock may be behind. Times further ahead, such as 2106 or 9999, stand for no time at all."""


# With an exponent, or with nothing but zeros behind the point: what has other digits there is read digit by digit.
_FLOAT = re.compile(r"[+-]?\d{1,20}(\.\d{0,20}[eE][+-]?\d{1,3}|[eE][+-]?\d{1,3}|\.0*)", re.ASCII)


class StreamParser:
    """Parses the payloads of one stream."""

    def __init__(self, stream: Stream, earliest: datetime) -> None:
        self._stream = stream
        self._earliest = earliest
        self._wide = wide_decoder(stream)
        self._sender = SenderFinder(stream)
        self._single = {metric.level: single_decoder(stream, metric) for metric in stream.metrics}

    def parse(self, message: Message, device_id: str | None, level: str | None) -> Reading | Rejection:
        """Read one payload; `device_id` and `level` are what the topic says, None where it does not."""
        stream = self._stream
        try:
            fields = (self._wide if level is None else self._single[level])(message.payload)
            device = _device(stream, device_id, fields.device)
            timestamp, claimed, stated = _time(stream, fields.timestamp, message.received_at, self._earliest)
        except PayloadError as fault:
            sender = self._sender.of(device_id, message.payload)
            return Rejection(stream.name, fault.reason, str(fault), message, sender)
        own = timestamp is not None
        measured_at = message.received_at if timestamp is None else timestamp
        if own and (message.redelivered or message.retained):
            stated = measured_at
        return Reading(stream, device, measured_at, claimed, fields.values, message, own, fields.unread, stated)


class Parser:
    """Parses messages of every stream, and those of devices beside their readings.

    `kinds` read the latter. A device's time before `earliest` is not believed.
    """

    def __init__(self, streams: Streams, kinds: Sequence[Readable] = (), earliest: datetime = EARLIEST) -> None:
        self._streams = streams
        self._parsers = {stream.name: StreamParser(stream, earliest) for stream in streams}
        self._device_messages = DeviceMessages(kinds)

    def parse(self, message: Message) -> Parsed:
        """Find what the topic is for and read the payload."""
        found = self._streams.match(message.topic) if message.valid_topic else None
        parsed: Parsed
        if found is None:
            parsed = self._other(message)
        else:
            stream, device_id, level = found
            parsed = self._parsers[stream.name].parse(message, device_id, level)
        return parsed if message.payload and not message.retained else _of_retained(parsed)

    def concerning(self, messages: Sequence[Message]) -> Sequence[Message]:
        """These messages without those on topics that AutoForge uses for itself."""
        is_own, roots = self._streams.is_own, self._streams.own_roots
        return [one for one in messages if not (one.topic.startswith(roots) and is_own(one.topic))]

    def _other(self, message: Message) -> DeviceMessage | Rejection | Ignored:
        if not message.valid_topic:
            return Rejection(None, "invalid_topic", "the topic is not valid UTF-8", message)
        if (parsed := self._device_messages.parse(message)) is not None:
            return parsed
        if self._streams.publishes(message.topic):
            return Ignored(OWN, message)
        if (unusable := self._streams.unusable_at(message.topic)) is not None:
            return Rejection(unusable.name[:40], "stream_unusable", unusable.reason, message)
        return self._unknown(message)

    def _unknown(self, message: Message) -> Rejection:
        stream = self._streams.undeclared(message.topic)
        if stream is None:
            return Rejection(None, "unknown_topic", "no declared stream has this topic", message)
        known = ", ".join(stream.topic.metric_levels)
        text = f"the stream {stream.name} has no metric with this topic; those it has are {known}"
        return Rejection(stream.name, "unknown_topic", text, message)

    def parse_for(
        self, stream: Stream, message: Message, device_id: str | None, level: str | None
    ) -> Reading | Rejection:
        """Read the payload as one of this stream, whatever the topic; for HTTP."""
        return self._parsers[stream.name].parse(message, device_id, level)


def _of_retained(parsed: Parsed) -> Parsed:
    """What is left of a message that a broker repeats, or of an empty one, which clears such a message."""
    if isinstance(parsed, Rejection) and not parsed.message.payload:
        return Ignored(EMPTY, parsed.message)
    if isinstance(parsed, Reading) and parsed.message.retained and not parsed.own_time:
        # When it was measured, nobody knows any more.
        return Ignored(RETAINED, parsed.message)
    return parsed


def _device(stream: Stream, from_topic: str | None, stated: Any) -> str:
    if isinstance(stated, int) and not isinstance(stated, bool):
        stated = str(stated)
    if stated is UNSET or stated is None:
        device = from_topic if from_topic is not None else stream.device_default
        if not device and from_topic is None:
            raise PayloadError("missing_device", f"{stream.device}: missing, and nothing else names the device")
    elif not isinstance(stated, str):
        raise PayloadError("invalid_device_id", f"{stream.device}: not a text: {shown(stated)}")
    elif from_topic is not None and stated != from_topic:
        raise PayloadError(
            "device_mismatch", f"{stream.device}: {shown(stated)}, but the topic says {shown(from_topic)}"
        )
    else:
        device = stated
    if fault := device_id_fault(device):
        raise PayloadError("invalid_device_id", f"{stream.device}: {fault}")
    return device


def _time(
    stream: Stream, stated: Any, received_at: datetime, earliest: datetime
) -> tuple[datetime | None, str | None, datetime | None]:
    """The device's time if it can be believed, else None, what the device said, and that moment if it is ahead."""
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
        return None, _unbelieved(stated), None
    if earliest <= measured_at <= received_at + clock.MAX_AHEAD:
        return measured_at, None, None
    is_ahead = received_at < measured_at <= received_at + AHEAD
    return None, clock.rfc3339(measured_at), measured_at if is_ahead else None


def _unbelieved(stated: Any) -> str:
    """What a device said instead of a time that can be used, as far as there is room for it."""
    if isinstance(stated, datetime):
        return stated.isoformat()
    return (printable(stated[:64]) if stated and isinstance(stated, str) else shown(stated))[:64]


def _parsed_time(stated: Any) -> datetime:
    """The moment that was stated. Raises NoTimeOfDay, OffTheCalendar or another ValueError."""
    if isinstance(stated, datetime):
        return clock.naive_utc(stated)
    if isinstance(stated, bool) or not isinstance(stated, str | int | float):
        raise ValueError(f"not a time: {shown(stated)}")  # noqa: TRY004 - a payload's fault, not the program's
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
