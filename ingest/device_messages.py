"""What devices say beside their readings: acknowledgements of commands, and whether they are online; pure."""

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from broker.message import Message
from ingest.decoding import decode_untyped
from ingest.identity import device_id_fault, nesting_fault
from ingest.message import Ignored, Rejection
from ingest.values import Fault, shown
from models import MAX_COMMAND_ID, OWN
from streams.topics import DeviceTopics, TopicPattern
from utils.lenient_json import BOM

MAX_REASON = 500
Answer = Literal["in_progress", "succeeded", "failed", "rejected"]
ANSWERS: tuple[Answer, ...] = ("in_progress", "succeeded", "failed", "rejected")


class Acknowledgement(msgspec.Struct, gc=False):
    """What a device says has become of a command; `result` is JSON text."""

    command_id: str
    device_id: str
    status: Answer
    reason: str | None
    result: str | None
    message: Message


class PresenceNotice(msgspec.Struct, gc=False):
    """A device that says that it is online, or its broker that it no longer is; None: nobody says so any more."""

    device_id: str
    online: bool | None
    message: Message


Reader = Callable[[str, Message], Acknowledgement | PresenceNotice | Rejection | Ignored]
"""What reads a message of a device."""


class DeviceMessages:
    """Reads the messages on the topics for acknowledgements and for presence."""

    def __init__(self, topics: DeviceTopics) -> None:
        readers: list[tuple[TopicPattern, Reader]] = [
            (topics.ack, _acknowledgement),
            (topics.status, _presence),
            (topics.control, _command),
        ]
        readers.sort(key=lambda entry: entry[0].order)
        self._readers = [(re.compile(topic.regex(), re.DOTALL), read) for topic, read in readers]

    def parse(self, message: Message) -> Acknowledgement | PresenceNotice | Rejection | Ignored | None:
        """Read a message that belongs to no stream; None where it is on no such topic."""
        device_id = None
        try:
            for topic, read in self._readers:
                if found := topic.fullmatch(message.topic):
                    device_id = _device(found["device"])
                    return read(device_id, message)
        except Fault as fault:
            return Rejection(None, fault.reason, str(fault), message, device_id)
        return None


def _device(device_id: str) -> str:
    if fault := device_id_fault(device_id):
        raise Fault("invalid_device_id", fault)
    return device_id


def _acknowledgement(device_id: str, message: Message) -> Acknowledgement:
    said = _object(decode_untyped(message.payload))
    command_id, status, reason = said.get("command_id"), said.get("status"), said.get("reason")
    if not isinstance(command_id, str):
        raise Fault("invalid_acknowledgement", f"command_id: expected a text, not {shown(command_id)}")
    if len(command_id) > MAX_COMMAND_ID:
        sentence = f"command_id: {len(command_id)} characters; at most {MAX_COMMAND_ID} are allowed"
        raise Fault("invalid_acknowledgement", sentence)
    if status not in ANSWERS:
        raise Fault("invalid_acknowledgement", f"status: expected one of {', '.join(ANSWERS)}, not {shown(status)}")
    if not isinstance(reason, str | None):
        raise Fault("invalid_acknowledgement", f"reason: expected a text, not {shown(reason)}")
    result = said.get("result")
    if fault := nesting_fault(result):
        raise Fault("too_deep", f"result: {fault}")
    text = None if result is None else msgspec.json.encode(result).decode()
    return Acknowledgement(command_id, device_id, status, reason and reason[:MAX_REASON], text, message)


def _presence(device_id: str, message: Message) -> PresenceNotice:
    return PresenceNotice(device_id, _is_online(message.payload), message)


def _command(_device_id: str, message: Message) -> Ignored:
    # A wide filter gives AutoForge back what it publishes for a device.
    return Ignored(OWN, message)


def _is_online(payload: bytes) -> bool | None:
    if not payload:
        return None
    said = payload.removeprefix(BOM).strip()
    if said not in (b"online", b"offline"):
        status = _object(decode_untyped(payload)).get("status")
        if status not in ("online", "offline"):
            raise Fault("invalid_presence", f"status: expected online or offline, not {shown(status)}")
        return bool(status == "online")
    return said == b"online"


def _object(decoded: Any) -> dict[str, Any]:
    if not isinstance(decoded, dict):
        raise Fault("not_an_object", f"expected a JSON object, not {shown(decoded)}")
    return decoded
