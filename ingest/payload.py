"""Parsing: turn a message into a `Reading`, a `Rejection` or another result; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from broker.message import Message
from ingest.certificates import Certificates
from ingest.decoding import level_decoder, wide_decoder
from ingest.device_ids import DeviceFinder
from ingest.device_messages import DeviceMessages
from ingest.fields import Fields, NotConcerned
from ingest.kinds import Readable
from ingest.members import Member
from ingest.message import DeviceMessage, Ignored, Parsed, Reading, Rejection, Several
from ingest.sender import SenderFinder
from ingest.several import together
from ingest.showing import few_shown
from ingest.sparkplug_reader import SparkplugReader
from ingest.times import TimeReader
from ingest.untyped import ReadMember
from ingest.values import PayloadError
from models import EMPTY, EXCLUDED, OWN, RETAINED
from streams.checks import MAX_STREAM_NAME
from streams.registry import Streams
from streams.stream import Stream
from streams.topics import DEVICE, NO_NAMES

EARLIEST = datetime(2020, 1, 1)
"""Earlier times are not believed; a clock may show them after a change of its battery."""


class StreamParser:
    """Parses the payloads of one stream."""

    def __init__(self, stream: Stream, earliest: datetime, certificates: Certificates) -> None:
        self._stream = stream
        self._times = TimeReader(stream, earliest)
        self._wide = wide_decoder(stream)
        is_sparkplug = stream.shape.format == "sparkplug"
        self._sparkplug = SparkplugReader(stream, certificates) if is_sparkplug else None
        self._sender = SenderFinder(stream)
        self._devices = DeviceFinder(stream)
        self._single = {
            level: level_decoder(stream, [m for m in stream.metrics if m.name in names])
            for level, names in stream.topic.metric_levels.items()
        }

    def parse(
        self,
        message: Message,
        device_id: str | None,
        level: str | None,
        names: Mapping[str, str] = NO_NAMES,
    ) -> Reading | Several | Rejection | Ignored:
        """Parse a payload.

        `device_id` and `level` are from the topic, None if not in it; `names` are its other
        placeholders.
        """
        stream = self._stream
        decode = self._wide if level is None else self._single[level]
        try:
            if self._sparkplug is None:
                found = decode(message.payload)
            else:
                found = self._sparkplug.read(message)
            if isinstance(found, Fields):
                return self._reading(found, message, device_id, names)
            with few_shown():
                members = [self._member(one, message, device_id, names) for one in found]
            return together(message, members)
        except PayloadError as error:
            sender = self._sender.of(device_id, message.payload)
            return Rejection(stream.name, error.reason, str(error), message, sender, 1)
        except NotConcerned as ignored:
            return Ignored(str(ignored), message)

    def _member(
        self, found: ReadMember, message: Message, device_id: str | None, names: Mapping[str, str]
    ) -> Reading | Rejection | Ignored:
        member, fields = found.member, found.fields
        try:
            if isinstance(fields, PayloadError):
                return self._rejected(fields, member, message, device_id)
            if isinstance(fields, NotConcerned):
                return Ignored(str(fields), message)
            if member.key is not None:
                names = {**names, "key": member.key}
            return self._reading(fields, message, device_id, names)
        except PayloadError as error:
            return self._rejected(error, member, message, device_id)

    def _rejected(
        self, error: PayloadError, member: Member, message: Message, device_id: str | None
    ) -> Rejection:
        sender = self._sender.of_member(device_id, member)
        text = error.within(member.place)
        return Rejection(self._stream.name, error.reason, text, message, sender, 1)

    def _reading(
        self, fields: Fields, message: Message, device_id: str | None, names: Mapping[str, str]
    ) -> Reading:
        """Return the reading with these fields. Raises PayloadError."""
        received_at = message.received_at
        device = self._devices.of(device_id, fields.device, names)
        timestamp, claimed, stated = self._times.read(fields.timestamp, received_at)
        own = timestamp is not None
        measured_at = received_at if timestamp is None else timestamp
        if own and (message.redelivered or message.retained):
            stated = measured_at
        reading = Reading(self._stream, device, measured_at, claimed, fields.values, message, own)
        if fields.faults or stated is not None or fields.rest is not None:
            reading.faults, reading.stated = fields.faults, stated
            reading.rest, reading.left_out = fields.rest, fields.left_out
        return reading


class Parser:
    """Parses the messages of all streams, and the other device messages with `kinds`.

    A device's time before `earliest` is not believed. `certificates` say what messages of
    Sparkplug mean.
    """

    def __init__(
        self,
        streams: Streams,
        kinds: Sequence[Readable] = (),
        earliest: datetime = EARLIEST,
        certificates: Certificates | None = None,
    ) -> None:
        self._streams = streams
        self.certificates = Certificates() if certificates is None else certificates
        made = (earliest, self.certificates)
        self._parsers = {stream.name: StreamParser(stream, *made) for stream in streams}
        pairs = ((stream, as_posted(stream)) for stream in streams)
        self._posted = self._parsers | {
            stream.name: StreamParser(posted, *made) for stream, posted in pairs if posted != stream
        }
        self._device_messages = DeviceMessages(kinds)

    def parse(self, message: Message) -> Parsed:
        """Find the stream or kind that the topic belongs to, and parse the payload."""
        found = self._streams.match(message.topic) if message.valid_topic else None
        parsed: Parsed
        if found is None:
            parsed = self._other(message)
        else:
            stream, device_id, level, is_excluded, names = found
            if is_excluded:
                return Ignored(EXCLUDED, message)
            parsed = self._parsers[stream.name].parse(message, device_id, level, names)
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

    def _unknown(self, message: Message) -> Rejection | Ignored:
        stream = self._streams.undeclared(message.topic)
        if stream is None:
            return Rejection(None, "unknown_topic", "no declared stream has this topic", message)
        if not stream.excluded.isdisjoint(message.topic.split("/")):
            return Ignored(EXCLUDED, message)
        known = ", ".join(stream.topic.metric_levels)
        text = f"the stream {stream.name} has no metric with this topic; its metrics are {known}"
        return Rejection(stream.name, "unknown_topic", text, message)

    def parse_for(
        self, stream: Stream, message: Message, device_id: str | None, level: str | None
    ) -> Reading | Several | Rejection | Ignored:
        """Parse a JSON payload of this stream, whatever its topic; for HTTP."""
        return self._posted[stream.name].parse(message, device_id, level)


def as_posted(stream: Stream) -> Stream:
    """Return a stream as its readings are posted over HTTP: JSON, not compressed.

    There is no topic, so the payload may name the device if the topic alone does.
    """
    shape = msgspec.structs.replace(
        stream.shape, format="json", columns=(), separator=",", unpack=""
    )
    if stream.device_parts == (DEVICE,):
        return replace(stream, shape=shape, device="device_id", device_parts=())
    return replace(stream, shape=shape)


def _of_retained(parsed: Parsed) -> Parsed:
    """Ignore a retained message without a time, and an empty one, which clears a retained one."""
    if isinstance(parsed, Rejection) and not parsed.message.payload:
        return Ignored(EMPTY, parsed.message)
    if not isinstance(parsed, Reading | Several) or not parsed.message.retained:
        return parsed
    given = parsed.readings if isinstance(parsed, Several) else [parsed]
    kept = [reading for reading in given if _counts_retained(reading)]
    if not kept:
        return Ignored(RETAINED, parsed.message)
    return Several(kept, parsed.message) if isinstance(parsed, Several) else parsed


def _counts_retained(reading: Reading) -> bool:
    match reading.stream.shape.retained:
        case "timed":
            return reading.own_time  # otherwise the time of the measurement is unknown
        case "store":
            return True
        case "ignore":
            return False
