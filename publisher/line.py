"""A line: one connection to the broker, on which messages are published at any QoS and followed to their end."""

import logging
import ssl
import time
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from broker.connection import connect, new_client
from broker.dialer import Dialler
from broker.loop import Driver, Loop
from config import Settings
from utils.descriptors import demand_spare
from utils.logger import Throttle

logger = logging.getLogger(__name__)
WINDOW = 1000
"""Messages that the broker has not acknowledged; who has more of them does not get what follows either."""
SHARED_BYTES, OWN_BYTES = 16_000_000, 65_536
"""Nor who has not acknowledged so many bytes: of all that share a line, or of the one that has its own."""
KEPT = 10
"""File descriptors that other lines leave to the one that is shared, so that it need not wait for one to end."""
# paho 2.2 forgets the rest of a WebSocket frame that the socket took only in part. So few messages
# that they always fit into the socket's buffer are never taken in part.
WEBSOCKET_WINDOW = 50


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Outcome(Enum):
    """What became of a message."""

    WRITTEN = auto()
    """At QoS 0 nothing more is known."""
    CONFIRMED = auto()
    REFUSED = auto()
    """The broker said that it does not take it."""
    LOST = auto()
    """The connection ended before."""


class Sender(Protocol):
    """Who has something published."""

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of a message."""


class Owner(Protocol):
    """Whose line it is."""

    def answered(self) -> None:
        """Hear that the broker accepted the connection, or that it could not be reached, refused it or was lost."""


class Network(NamedTuple):
    """What lines have in common: the shared one has a dialler of its own."""

    settings: Settings
    context: ssl.SSLContext | None
    loop: Loop
    dialler: Dialler
    lines: "dict[str, Line]"
    """All that have not left, by client id; the shared one has none."""
    throttle: Throttle


class Line:
    """A connection with a last will or without; every dial is a new client, so that nothing old is sent again."""

    def __init__(self, network: Network, owner: Owner, client_id: str = "", will: Message | None = None) -> None:
        """Have it dialled; without a client id it is the line that all share."""
        self._network = network
        self._owner = owner
        self.client_id = client_id
        self._will = will
        self._client: paho.Client | None = None
        self._sent: dict[int, tuple[Sender, Message]] = {}
        """What is not settled, by packet id."""
        self._bytes = 0
        """Of all that is not settled."""
        websocket = network.settings.broker.transport == "websockets"
        self._most_bytes = OWN_BYTES if client_id or websocket else SHARED_BYTES
        self._most = self._window = WEBSOCKET_WINDOW if websocket else WINDOW
        self._fault = ""
        self._dialled = self._leaving = False
        self.open = False
        """Whether the broker has accepted the connection, and it has not ended since."""
        self.since = 0.0
        """When it was opened last, on the monotonic clock."""
        self.tried = False
        """Whether it has been open, or could not be."""
        network.lines[client_id] = self
        network.dialler.want(self)

    @property
    def room(self) -> bool:
        """Whether a message may be published."""
        return self.open and len(self._sent) < self._window and self._bytes < self._most_bytes

    @property
    def client(self) -> paho.Client:
        """The paho client of the last dial."""
        if self._client is None:
            raise RuntimeError("it was never dialled")
        return self._client

    def dial(self) -> None:
        """Open the connection; the owner hears of the answer. Raises OSError."""
        settings = self._network.settings
        client = self._client = new_client(settings, self.client_id, persistent=False, context=self._network.context)
        # 0 is no limit: the window is ours, and with its own paho walks over all messages at every acknowledgement.
        client.max_inflight_messages = client.max_queued_messages = 0
        if self._will is not None:
            client.will_set(*self._will)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        Driver(client, self._network.loop, at_once=True)
        self._fault = ""
        try:
            demand_spare(KEPT if self.client_id else 0)
            # What it publishes on a stream's topic needs a session that keeps it, like what a device publishes.
            connect(client, settings, persistent=False, as_device=True)
        except (OSError, ValueError) as error:
            self.tried = True
            self._owner.answered()
            raise OSError(str(getattr(error, "strerror", None) or error)) from error
        self._dialled = True

    def give_up(self, fault: str) -> None:
        """End an attempt that is not answered."""
        self._fault = fault
        self.client.disconnect()

    def publish(self, message: Message, sender: Sender) -> None:
        """Publish; the sender hears what became of it. Ask `room` first."""
        while True:
            info = self.client.publish(*message)
            # A packet id may be taken by a message that waits since 65,535 messages: then the next one is free.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                break
        if info.mid in self._sent:
            # paho gave the id of one that waits since 65,535 messages to one at QoS 0: which is answered is not known.
            self._take(info.mid)[0].settled(Outcome.LOST)
        self._sent[info.mid] = (sender, message)
        self._bytes += len(message.payload)

    def leave(self, *, silently: bool = False, last: tuple[Message, Sender] | None = None) -> None:
        """Publish the will, unless silently, and then the `last` message; disconnect when everything is settled."""
        if self._leaving:
            return
        self._leaving = True
        self._network.dialler.forget(self)
        if self.open and self._will is not None and not silently:
            self.publish(self._will, self)
        if self.open and last is not None:
            self.publish(*last)
        if not self._dialled:
            del self._network.lines[self.client_id]
        elif not self._sent:
            self.client.disconnect()

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of the goodbye, which does not count."""

    def cut(self) -> None:
        """End the connection without a word, so that the broker publishes the will."""
        self.open = False
        sock = None if self._client is None else self._client.socket()
        if sock is not None:
            self._network.loop.forget(sock.fileno())
            self.client.on_socket_close = None
            sock.close()

    def _keep_alive(self, client: paho.Client) -> None:
        if client is self._client and self._dialled:
            client.loop_misc()
            self._network.loop.call_in(self._network.settings.mqtt_keepalive / 4, lambda: self._keep_alive(client))

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._fault = f"the broker refused the connection: {reason}"
            return
        if self._leaving:
            return
        self._window = min(self._most, getattr(properties, "ReceiveMaximum", self._most))
        self.open = self.tried = True
        self.since = time.monotonic()
        self._network.dialler.connected(self)
        self._keep_alive(client)
        self._owner.answered()

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        leaving = self._leaving
        if mid in self._sent:  # of two that had the same packet id, the second is not
            sender, message = self._take(mid)
            if reason.is_failure:
                told = f"The broker refuses what is published on {message.topic}: {reason}"
                self._network.throttle.warn(logger, message.topic, told)
                sender.settled(Outcome.REFUSED)
            else:
                sender.settled(Outcome.CONFIRMED if message.qos else Outcome.WRITTEN)
        if leaving and not self._sent:
            self.client.disconnect()

    def _take(self, mid: int) -> tuple[Sender, Message]:
        taken = self._sent.pop(mid)
        self._bytes -= len(taken[1].payload)
        return taken

    def _on_disconnect(self, client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if client is not self._client or not self._dialled:
            return
        self._dialled = self.open = False
        lost, self._sent, self._bytes = self._sent, {}, 0
        for sender, _ in lost.values():
            sender.settled(Outcome.LOST)
        if self._leaving:
            del self._network.lines[self.client_id]
            return
        # Of a connection that breaks, paho's reason is no more than "Unspecified error".
        by_broker = flags.is_disconnect_packet_from_server
        self.tried = True
        self._network.dialler.failed(self, self._fault or (str(reason) if by_broker else "the connection was lost"))
        self._owner.answered()
