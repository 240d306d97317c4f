"""Parsing of device messages other than readings, each on the topic of its kind; pure."""

import re
from collections.abc import Sequence
from typing import Any

from broker.message import Message
from ingest.json_payloads import decode_untyped
from ingest.kinds import Readable
from ingest.message import DeviceMessage, Ignored, Rejection
from ingest.showing import shown
from ingest.values import PayloadError
from models import OWN
from streams.topics import TopicParts, TopicPattern
from utils.identity import device_id_fault


class DeviceMessages:
    """Parses the messages on the topics of the given kinds."""

    def __init__(self, kinds: Sequence[Readable]) -> None:
        ordered = sorted(kinds, key=lambda kind: kind.topic.order)
        self._kinds = [(re.compile(kind.topic.regex(), re.DOTALL), kind) for kind in ordered]

    def parse(self, message: Message) -> DeviceMessage | Rejection | Ignored | None:
        """Parse a message; return None if it is on the topic of no kind."""
        for topic, kind in self._kinds:
            if found := topic.fullmatch(message.topic):
                return _read(kind, kind.topic.parts(found.groupdict()), message)
        return None


def _read(
    kind: Readable, parts: TopicParts, message: Message
) -> DeviceMessage | Rejection | Ignored:
    device_id, stream = None, kind.stream
    try:
        device_id = _device(parts.device_id if stream is None else stream.device_of(parts))
        return kind.read(device_id, message)
    except PayloadError as error:
        name = None if stream is None else stream.name
        return Rejection(name, error.reason, str(error), message, device_id)


class OwnCommands:
    """The commands published by AutoForge, which a wide filter delivers back to it."""

    stream = None

    def __init__(self, topic: TopicPattern) -> None:
        self.topic = topic

    def read(self, _device_id: str, message: Message) -> Ignored:
        """Ignore it."""
        return Ignored(OWN, message)


def read_object(payload: bytes) -> dict[str, Any]:
    """Decode a payload that must be a JSON object. Raises PayloadError."""
    decoded = decode_untyped(payload)
    if not isinstance(decoded, dict):
        raise PayloadError("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    return decoded


def _device(device_id: str | None) -> str:
    device_id = device_id or ""
    if fault := device_id_fault(device_id):
        raise PayloadError("invalid_device_id", fault)
    return device_id
