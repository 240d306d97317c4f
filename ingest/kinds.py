"""Message kinds: what the pipeline is handed to apply what was parsed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from broker.message import Message
from ingest.message import DeviceMessage, Ignored
from ingest.outcome import Applied
from streams.topics import TopicPattern


class Kind(Protocol):
    """One kind of message."""

    @property
    def parsed(self) -> type:
        """What its messages are parsed to."""
        ...

    def apply(self, connection: Connection, items: Sequence[Any], now: datetime) -> Applied:
        """Write what was parsed, in the order of its arrival, in a transaction. Raises DBAPIError.

        `now` is the time of the batch.
        """
        ...


class Readable(Protocol):
    """A kind of message that devices send beside their readings, on a topic of its own."""

    topic: TopicPattern

    def read(self, device_id: str, message: Message) -> DeviceMessage | Ignored:
        """Read a message that a device sent on that topic. Raises PayloadError."""
        ...
