"""Parsing what devices send beside their readings, on the topics of the kinds that read it; pure."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from broker.message import Message
from ingest.decoding import decode_untyped
from ingest.identity import device_id_fault
from ingest.kinds import Readable
from ingest.message import DeviceMessage, Ignored, Rejection
from ingest.values import PayloadError, shown
from models import OWN
from streams.topics import TopicPattern


class DeviceMessages:
    """Reads the messages on the topics of these kinds."""

    def __init__(self, kinds: Sequence[Readable]) -> None:
        ordered = sorted(kinds, key=lambda kind: kind.topic.order)
        self._readers: list[tuple[re.Pattern[str], Callable[..., DeviceMessage | Ignored]]] = [
            (re.compile(kind.topic.regex(), re.DOTALL), kind.read) for kind in ordered
        ]

    def parse(self, message: Message) -> DeviceMessage | Rejection | Ignored | None:
        """Read a message that belongs to no stream; None where it is on no such topic."""
        device_id = None
        try:
            for topic, read in self._readers:
                if found := topic.fullmatch(message.topic):
                    device_id = _device(found["device"])
                    return read(device_id, message)
        except PayloadError as fault:
            return Rejection(None, fault.reason, str(fault), message, device_id)
        return None


class OwnCommands:
    """The commands that a wide filter gives back to AutoForge, which has published them."""

    def __init__(self, topic: TopicPattern) -> None:
        self.topic = topic

    def read(self, _device_id: str, message: Message) -> Ignored:
        """Ignore it."""
        return Ignored(OWN, message)


def read_object(payload: bytes) -> dict[str, Any]:
    """The JSON object that a payload is. Raises PayloadError."""
    decoded = decode_untyped(payload)
    if not isinstance(decoded, dict):
        raise PayloadError("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    return decoded


def _device(device_id: str) -> str:
    if fault := device_id_fault(device_id):
        raise PayloadError("invalid_device_id", fault)
    return device_id
