"""What becomes of a message: a reading or a rejection."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from broker.message import Message
from streams.stream import Stream


class Reading(msgspec.Struct, gc=False):
    """A message that was understood; `values` has one entry per metric of the stream, in its order."""

    stream: Stream
    device_id: str
    timestamp: datetime
    device_timestamp: str | None
    """What the device said its time was, where that could not be believed."""
    values: tuple[float | str | None, ...]
    message: Message
    own_time: bool
    """Whether `timestamp` is the device's, so that a redelivery has the same key."""
    unread: tuple[str, ...] = ()
    """What is wrong with the values of optional metrics that could not be read, which count as none."""
    stated: datetime | None = None
    """The time that the device stated, where the reading may be stored already under another key."""


class Ignored(msgspec.Struct, gc=False):
    """A message that says nothing new and is no fault: an old one that a broker repeats, or an empty one."""

    reason: str
    message: Message


class Rejection(msgspec.Struct, gc=False):
    """A message that was not understood: a reason code, and a sentence for people."""

    stream: str | None
    reason: str
    sentence: str
    message: Message
    device_id: str | None = None
    """Who sent it, where topic or payload says so."""


@dataclass
class Applied:
    """What became of a batch of acknowledgements or of notices of presence."""

    stored: int = 0
    """How many changed something."""
    repeated: int = 0
    """How many said what was known."""
    rejections: list[Rejection] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """The ids of the commands, or of the devices, that are different now."""


def content_hash(message: Message) -> int:
    """A signed 64-bit hash of topic and payload, which are the same in a redelivery."""
    digest = hashlib.blake2b(b"%b\0%b" % (message.topic.encode(), message.payload), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)
