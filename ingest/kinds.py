"""The protocols of message kinds, which apply parsed messages for the pipeline."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from broker.message import Message
from ingest.message import DeviceMessage, Ignored
from ingest.outcome import Applied
from streams.stream import Stream
from streams.topics import TopicPattern


class Kind(Protocol):
    """A kind of message that the pipeline can apply."""

    @property
    def parsed(self) -> type:
        """The class that its messages are parsed to."""
        ...

    def apply(self, connection: Connection, items: Sequence[Any], now: datetime) -> Applied:
        """Apply parsed messages in the order of their arrival, within a transaction.

        `now` is the time of the batch. Raises DBAPIError.
        """
        ...


class Readable(Protocol):
    """A kind of message other than readings, which devices send on a topic of its own."""

    topic: TopicPattern

    @property
    def stream(self) -> Stream | None:
        """The stream whose devices they are; None if they are those of any stream."""
        ...

    def read(self, device_id: str, message: Message) -> DeviceMessage | Ignored:
        """Parse a message of a device on that topic. Raises PayloadError."""
        ...
