"""Messages that are received and not stored yet, with the packet ids to acknowledge."""

from collections.abc import Iterable
from typing import Any

from paho.mqtt import client as paho

from broker.message import Message
from broker.subscriptions import Subscriptions
from utils.clock import MICROSECOND, now, server_time

MAX_BATCH = 10_000
MAX_BATCH_BYTES = 8_000_000
MAX_HELD, MAX_HELD_BYTES = 65_535, 64_000_000
"""The limits while the receiver is not ready; QoS 1 cannot have more messages in flight."""


class MessageBatch:
    """Collects the messages of a client in the order received, until they are stored."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.messages: list[Message] = []
        self._subscriptions = subscriptions
        self._bytes = 0
        # In the order received; only of the current connection.
        self._packet_ids: dict[int, None] = {}
        # When the last message was received; each has a later time than the one before.
        self._received_at = now()
        self._limit = self._byte_limit = 0

    @property
    def full(self) -> bool:
        """Whether the batch has reached its limits."""
        return len(self.messages) >= MAX_HELD or self._bytes >= MAX_HELD_BYTES

    def begin_round(self) -> None:
        """Start a round of at most as many messages as one transaction stores."""
        self._limit = len(self.messages) + MAX_BATCH
        self._byte_limit = self._bytes + MAX_BATCH_BYTES
        self._received_at = server_time(self._received_at)

    def takes_more(self, *, connected: bool) -> bool:
        """Whether the round may continue.

        Without a connection a full batch takes more: the answer to CONNECT must be read.
        """
        if len(self.messages) >= self._limit or self._bytes >= self._byte_limit:
            return False
        return not connected or not self.full

    def on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        """Add a message; paho calls this for each one."""
        packet_id = message.mid if message.qos else 0
        if message.dup and packet_id in self._packet_ids:
            return  # already held: some brokers resend unacknowledged messages
        valid = True
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            valid = False
            topic = bytes(error.object).decode(errors="backslashreplace")
        payload = bytes(message.payload)
        self._received_at += MICROSECOND
        held = Message(
            topic,
            payload,
            self._received_at,
            packet_id,
            message.dup,
            valid,
            message.retain,
        )
        if self._subscriptions.numbered:
            held.via = tuple(getattr(message.properties, "SubscriptionIdentifier", ()))
        self.messages.append(held)
        self._bytes += len(payload)
        if packet_id:
            self._packet_ids[packet_id] = None

    def mark_copies(self) -> None:
        """Mark the messages that are copies; the granted filters must be known."""
        if self._subscriptions.numbered:
            self._subscriptions.mark(self.messages)

    def stored(self) -> Iterable[int]:
        """Start a new batch; return the packet ids to acknowledge, in the order received."""
        self.messages.clear()
        self._bytes = 0
        packet_ids, self._packet_ids = self._packet_ids, {}
        return packet_ids

    def connection_lost(self) -> None:
        """Keep the messages without their packet ids, which are invalid on another connection."""
        self._packet_ids.clear()
