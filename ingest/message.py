"""The results of parsing a message: a reading, another device message, ignored, or rejected."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from broker.message import Message
from ingest.values import ValueFault, errors_of
from streams.metric import Value, Values
from streams.stream import Stream


class Reading(msgspec.Struct, gc=False):
    """A reading; `values` has one entry per metric of the stream, in its order."""

    stream: Stream
    device_id: str
    timestamp: datetime
    device_timestamp: str | None
    """The time that the device stated, if it was not believed."""
    values: Values
    message: Message
    own_time: bool
    """Whether `timestamp` is the device's time, so that a redelivery has the same key."""
    faults: tuple[ValueFault, ...] = ()
    """The values of optional metrics that are missing or could not be read."""
    stated: datetime | None = None
    """The time that the device stated, if the reading may already be stored under another key."""
    rest: dict[str, Value] | None = None
    """The fields that no metric takes, if the stream keeps them."""
    left_out: int = 0
    """How many of these are not kept, because the device has too many names."""
    index: int | None = None
    """Its place among the readings of the message; None if it is the only one."""

    @property
    def unread(self) -> tuple[str, ...]:
        """The errors in values of optional metrics, which are stored as None."""
        return errors_of(self.faults)

    def delivery(self) -> int:
        """Return a number for the delivery that brought it, and its place in it."""
        return self.message.serial() + (self.index or 0)


class DeviceMessage(msgspec.Struct, gc=False):
    """A message of a device other than a reading; each kind has a subclass."""

    device_id: str
    message: Message


class Ignored(msgspec.Struct, gc=False):
    """A message that changes nothing and is no error, such as a retained or an empty one."""

    reason: str
    message: Message


class Rejection(msgspec.Struct, gc=False):
    """A message that is kept raw, with a reason code and a text for users."""

    stream: str | None
    reason: str
    text: str
    message: Message
    device_id: str | None = None
    """The sender, if topic or payload name it."""
    readings: int = 0
    """How many rejected or partly read readings it stands for."""


class Several(msgspec.Struct, gc=False):
    """A message with several readings, at least one of which can be stored."""

    readings: Sequence[Reading]
    message: Message
    rejections: Sequence[Rejection] = ()
    """Its readings that are rejected; `text` of each begins with its place."""


Parsed = Reading | Several | DeviceMessage | Rejection | Ignored


def shared_device(items: Iterable[Reading | Rejection]) -> str | None:
    """Return the device of readings or rejections; None if it is unknown or not one."""
    devices = {one.device_id for one in items}
    return devices.pop() if len(devices) == 1 else None
