"""Parsing of device messages other than readings, each on the topic of its kind; pure."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from broker.message import Message
from ingest.json_payloads import decode_untyped
from ingest.kinds import Readable
from ingest.message import DeviceMessage, Ignored, Rejection
from ingest.values import PayloadError, shown
from models import OWN
from streams.topics import TopicPattern
from utils.identity import device_id_fault


class DeviceMessages:
    """Parses the messages on the topics of the given kinds."""

    def __init__(self, kinds: Sequence[Readable]) -> None:
        ordered = sorted(kinds, key=lambda kind: kind.topic.order)
        self._readers: list[tuple[re.Pattern[str], Callable[..., DeviceMessage | Ignored]]] = [
            (re.compile(kind.topic.regex(), re.DOTALL), kind.read) for kind in ordered
        ]

    def parse(self, message: Message) -> DeviceMessage | Rejection | Ignored | None:
        """Parse a message; return None if it is on the topic of no kind."""
        device_id = None
        try:
            for topic, read in self._readers:
                if found := topic.fullmatch(message.topic):
                    device_id = _device(found["device_id"])
                    return read(device_id, message)
        except PayloadError as error:
            return Rejection(None, error.reason, str(error), message, device_id)
        return None


class OwnCommands:
    """The commands published by AutoForge, which a wide filter delivers back to it."""

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


def _device(device_id: str) -> str:
    if fault := device_id_fault(device_id):
        raise PayloadError("invalid_device_id", fault)
    return device_id
