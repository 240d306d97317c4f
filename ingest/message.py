"""What a message says: a reading, something beside the readings, nothing new, or nothing that is understood."""

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


class DeviceMessage(msgspec.Struct, gc=False):
    """What a device says beside its readings; each kind has a class of its own."""

    device_id: str
    message: Message


class Ignored(msgspec.Struct, gc=False):
    """A message that says nothing new and is no fault: an old one that a broker repeats, or an empty one."""

    reason: str
    message: Message


class Rejection(msgspec.Struct, gc=False):
    """A message that was not understood: a reason code, and a sentence for people."""

    stream: str | None
    reason: str
    text: str
    message: Message
    device_id: str | None = None
    """Who sent it, where topic or payload says so."""


Parsed = Reading | DeviceMessage | Rejection | Ignored
