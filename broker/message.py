"""A message and its receiver: the contract between a source of messages and the ingest."""

import hashlib
import random
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec


class Message(msgspec.Struct, gc=False):
    """One message as it came in, by MQTT or HTTP."""

    topic: str
    payload: bytes
    received_at: datetime
    packet_id: int = 0
    """The MQTT packet id; 0 where nothing can be redelivered (QoS 0, HTTP)."""
    redelivered: bool = False
    valid_topic: bool = True
    """False where the topic was not UTF-8; `topic` then has the bad bytes escaped."""
    retained: bool = False
    """Whether it is a retained message, sent because of a new subscription."""
    via: tuple[int, ...] = ()
    """The subscription identifiers of the matching filters, where they are needed."""
    copy: bool = False
    """Whether the broker delivers it once more because it matches another filter too."""
    known_serial: int = 0
    """The id of this delivery if an earlier one had the same; see `serial`."""
    _fingerprint: int | None = None

    def serial(self) -> int:
        """Return an id of this delivery, the same when it is handed over again."""
        if not self.known_serial:
            self.known_serial = random.getrandbits(62)
        return self.known_serial

    def fingerprint(self) -> int:
        """Return a signed 64-bit hash of topic and payload, the same for a redelivery."""
        if self._fingerprint is None:
            content = b"%b\0%b" % (self.topic.encode(), self.payload)
            digest = hashlib.blake2b(content, digest_size=8).digest()
            self._fingerprint = int.from_bytes(digest, "big", signed=True)
        return self._fingerprint


class Receiver(Protocol):
    """Receives the messages of a source."""

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store the messages. True: acknowledge them. False: hand them over again later."""
        ...

    def may_connect(self) -> bool:
        """Whether this process may use the client id now."""
        ...

    def tick(self) -> bool:
        """Called every second; False ends the subscriber."""
        ...

    def connected(self, *, session_present: bool) -> None:
        """Called when the broker accepts a connection, before its first message."""
        ...

    def subscribed(self) -> None:
        """Called when all wanted filters are granted and the unwanted ones are removed."""
        ...

    def evicted(self) -> None:
        """Called when another client uses the client id."""
        ...


class Filters(NamedTuple):
    """The filters to subscribe to, and earlier filters of the session to remove."""

    wanted: Sequence[str]
    unwanted: Sequence[str] = ()
    known: Sequence[str] = ()
    """The filters of a session with no wanted ones, to detect copies of a message."""
