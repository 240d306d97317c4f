"""A connection to the broker that tracks the outcome of each message; it may have a will."""

import logging
import ssl
import time
from enum import Enum, auto
from typing import NamedTuple, Protocol

from paho.mqtt.reasoncodes import ReasonCode

from broker.connection import new_client
from broker.dialer import Dialer
from broker.driven_client import DrivenClient
from broker.in_flight import MAX_IN_FLIGHT, Outgoing
from broker.loop import Loop
from config import Settings
from utils.logger import Throttle

logger = logging.getLogger(__name__)
SHARED_BYTES, OWN_BYTES = 16_000_000, 65_536
"""Limits in flight on the shared connection, and on an entry's own connection."""
ENDS = 2
"""After this many ends of a connection, the log names the entries in flight."""
NAMED = 10
JUST_NOW = 1.0
"""Seconds. A broker that refuses a message at QoS 0 ends the connection within this time."""


class Delivery(Enum):
    """The outcome of a message."""

    WRITTEN = auto()
    """At QoS 0, where nothing more is known."""
    CONFIRMED = auto()
    REFUSED = auto()
    """The broker acknowledged it with an error."""
    LOST = auto()
    """The connection ended before the acknowledgement."""


class Sender(Protocol):
    """The sender of a message."""

    @property
    def name(self) -> str:
        """The name in the log."""

    def on_delivery(self, delivery: Delivery) -> None:
        """Called when the outcome of the message is known."""


class ConnectionOwner(Protocol):
    """Owns a connection."""

    def on_connection(self) -> None:
        """Called when the connection has opened, could not be opened, or has ended."""


class Network(NamedTuple):
    """What all connections share."""

    settings: Settings
    context: ssl.SSLContext | None
    loop: Loop
    shared_dialer: Dialer
    dialer: Dialer
    """For connections with a will: their failures must not delay the shared connection."""
    connections: "dict[str, TrackedConnection]"
    """All that have not left, by client id; the shared one's is empty."""
    stale: set[str]
    """The client ids whose last connection was lost: the broker may still think it alive."""
    throttle: Throttle

    def max_bytes(self, client_id: str) -> int:
        """Return the limit of bytes in flight on a connection."""
        websocket = self.settings.broker.transport == "websockets"
        return OWN_BYTES if client_id or websocket else SHARED_BYTES

    def release(self, connection: "TrackedConnection") -> None:
        """Let another connection take the client id of one that has left."""
        if self.connections.get(connection.client_id) is connection:
            del self.connections[connection.client_id]


class Sent(NamedTuple):
    """A message in flight."""

    sender: Sender | None
    message: Outgoing

    def settle(self, delivery: Delivery) -> None:
        """Notify the sender, if there is one."""
        if self.sender is not None:
            self.sender.on_delivery(delivery)


class _ConnectionLog:
    """Logs the messages that the broker refuses, and those in flight when it ends a connection."""

    __slots__ = ("_client_id", "_ends", "_throttle", "_written")

    def __init__(self, client_id: str, throttle: Throttle) -> None:
        self._client_id = client_id
        self._throttle = throttle
        self._ends = 0
        # When a message was last sent at QoS 0, where it is in flight only briefly, and its sender.
        self._written: tuple[float, Sender | None] = (0.0, None)

    def sent(self, item: Sent) -> None:
        """Remember a message at QoS 0."""
        if not item.message.qos:
            self._written = (time.monotonic(), item.sender)

    def refused(self, topic: str, reason: ReasonCode) -> None:
        """Log that the broker refused a message."""
        self._throttle.warn(logger, topic, f"The broker refuses messages on {topic}: {reason}")

    def ended(self, lost: list[Sent]) -> None:
        """Log the possible causes of the end: a broker need not say which message it refuses."""
        self._ends += 1
        names = self._names(lost)
        if names and self._ends >= ENDS:
            hint = "Does the broker accept their size, their retain flag and their topics?"
            text = f"A connection has ended {self._ends} times, now with these in flight: "
            key = f"in flight {self._client_id}"
            self._throttle.warn(logger, key, f"{text}{names}. {hint}")

    def _names(self, lost: list[Sent]) -> str:
        at, written = self._written
        senders = [item.sender for item in lost]
        if time.monotonic() - at < JUST_NOW:
            senders.append(written)
        names = list(dict.fromkeys(f'"{sender.name}"' for sender in senders if sender is not None))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more


class TrackedConnection:
    """Each dial creates a new client, so that paho resends no outdated message."""

    def __init__(
        self,
        network: Network,
        owner: ConnectionOwner,
        client_id: str = "",
        will: Outgoing | None = None,
    ) -> None:
        """Request the connection; without a client id it is the shared one."""
        self.client_id = client_id
        self.open = False
        self.tried = False  # whether it was opened, or failed to open
        self._network = network
        self._dialer = network.dialer if client_id else network.shared_dialer
        self._owner = owner
        self._will = will
        self._client: DrivenClient[Sent] | None = None
        self._bytes = 0
        self._max_bytes = network.max_bytes(client_id)
        self._leaving = False
        self._log = _ConnectionLog(client_id, network.throttle)
        network.connections[client_id] = self
        self._dialer.want(self)

    @property
    def room(self) -> bool:
        """Whether a message may be published."""
        return self.open and not self.client.in_flight.full and self._bytes < self._max_bytes

    @property
    def client(self) -> DrivenClient[Sent]:
        """The client of the last dial."""
        if self._client is None:
            raise RuntimeError("it was never dialed")
        return self._client

    def dial(self) -> None:
        """Open the connection; the broker's answer comes later. Raises OSError."""
        settings, context = self._network.settings, self._network.context
        client = new_client(settings, self.client_id, persistent=False, context=context)
        if self._will is not None:
            client.will_set(*self._will)
        self._client = DrivenClient(client, self._network.loop, self, MAX_IN_FLIGHT, at_once=True)
        try:
            self._client.dial(settings)
        except OSError:
            self.tried = True
            self._owner.on_connection()
            raise

    def give_up(self, error: str) -> None:
        """End an unanswered attempt."""
        self.client.give_up(error)

    def publish(self, message: Outgoing, sender: Sender | None) -> None:
        """Publish, and notify the sender of the outcome. Check `room` first."""
        item = Sent(sender, message)
        displaced = self.client.publish(message, item)
        if displaced is not None:
            self._settle(displaced, Delivery.LOST)
        self._bytes += len(message.payload)
        self._log.sent(item)

    @property
    def dialed(self) -> bool:
        """Whether it is open, or waits for the broker's answer."""
        return self._client is not None and self._client.dialed

    @property
    def frees_id(self) -> bool:
        """Whether the next connection must have the same client id, should this one leave now.

        A lost connection that the broker thinks alive is ended by a client with its id. With
        another id its will would come later and be the last message.
        """
        return not self.dialed or (not self.open and self.client_id in self._network.stale)

    def leave(self, *, silently: bool = False, last: tuple[Outgoing, Sender] | None = None) -> None:
        """Publish the will, unless silently, then `last`; disconnect when nothing is in flight."""
        if self._leaving:
            return
        self._leaving = True
        self._dialer.forget(self)
        if self.open and self._will is not None and not silently:
            self.publish(self._will, None)
        if self.open and last is not None:
            self.publish(*last)
        if self.frees_id:
            self._network.release(self)
        if self.dialed:
            self._disconnect_if_done()

    def cut(self) -> None:
        """End the connection without DISCONNECT, so that the broker publishes the will."""
        self.open = False
        if self._client is not None:
            self._client.cut()

    def on_open(self) -> None:
        """Keep the connection alive, and notify the owner."""
        if self._leaving:
            return
        self.open = self.tried = True
        self._network.stale.discard(self.client_id)
        self._dialer.connected(self)
        self._keep_alive(self.client)
        self._owner.on_connection()

    def on_settled(self, item: Sent, reason: ReasonCode) -> None:
        """Notify the sender; log the topic if the broker refused the message."""
        if reason.is_failure:
            self._log.refused(item.message.topic, reason)
            self._settle(item, Delivery.REFUSED)
        else:
            self._settle(item, Delivery.CONFIRMED if item.message.qos else Delivery.WRITTEN)
        if self._leaving:
            self._disconnect_if_done()

    def on_end(self, error: str) -> None:
        """Notify the senders of lost messages, and reconnect."""
        was_open, self.open = self.open, False
        lost = self.client.in_flight.clear()
        for item in lost:
            self._settle(item, Delivery.LOST)
        if self._leaving:
            self._network.release(self)
            return
        if was_open:
            self._network.stale.add(self.client_id)
            self._log.ended(lost)
        self.tried = True
        self._dialer.failed(self, error)
        self._owner.on_connection()

    def _settle(self, item: Sent, delivery: Delivery) -> None:
        self._bytes -= len(item.message.payload)
        item.settle(delivery)

    def _disconnect_if_done(self) -> None:
        if not self.client.in_flight:
            self.client.client.disconnect()

    def _keep_alive(self, client: DrivenClient[Sent]) -> None:
        if client is self._client and client.dialed:
            client.client.loop_misc()
            pause = self._network.settings.mqtt_keepalive / 4
            self._network.loop.call_in(pause, lambda: self._keep_alive(client))
