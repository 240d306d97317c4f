"""A board's MQTT connection at QoS 1: readings and other messages, within the in-flight window."""

from collections import deque
from typing import Any, NamedTuple, Protocol

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.driven_client import DrivenClient
from broker.in_flight import Outgoing
from broker.loop import Loop
from config import Settings
from simulators.device import SimulatedMessage
from simulators.tally import Tally


class Limits(NamedTuple):
    """How a connection sends."""

    max_in_flight: int
    """How many messages may be in flight."""
    at_once: bool
    """Whether TCP sends each message at once; collecting is faster for a steady stream."""


class Listener(Protocol):
    """Notified of what happens on a connection."""

    def opened(self, obeys: bool) -> None:
        """The broker accepted the connection; `obeys` if it granted the subscription."""

    def received(self, payload: bytes) -> None:
        """A message arrived on the subscribed topic."""

    def settled(self) -> None:
        """All messages are acknowledged."""

    def lost(self, error: str) -> None:
        """The connection ended; `error` is empty after `hang_up`."""


class BoardConnection:
    """Publishes readings and other messages; resends the unacknowledged ones on reconnect."""

    def __init__(
        self,
        client: paho.Client,
        settings: Settings,
        loop: Loop,
        listener: Listener,
        *,
        tally: Tally,
        limits: Limits,
    ) -> None:
        self._client: DrivenClient[SimulatedMessage | Outgoing] = DrivenClient(
            client, loop, self, limits.max_in_flight, at_once=limits.at_once
        )
        self._in_flight = self._client.in_flight
        self._settings = settings
        self._listener = listener
        self._tally = tally
        self._topic = ""
        self._backlog: deque[SimulatedMessage] = deque()
        self._waiting: deque[Outgoing] = deque()
        self._hung_up = False
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    @property
    def outstanding(self) -> int:
        """How many messages, sent or waiting, are not acknowledged."""
        return len(self._in_flight) + len(self._waiting) + len(self._backlog)

    @property
    def room(self) -> int:
        """How many readings may be published now; 0 while kept readings wait."""
        under_way = len(self._in_flight) + len(self._waiting)
        return 0 if self._backlog else max(0, self._in_flight.size - under_way)

    @property
    def closed(self) -> bool:
        """Whether there is no connection to the broker."""
        return self._client.client.socket() is None

    def listen(self, topic: str, will: tuple[str, bytes]) -> None:
        """Subscribe to a topic at every connect, and leave a retained will with the broker."""
        self._topic = topic
        self._client.client.will_set(*will, qos=1, retain=True)

    def dial(self) -> None:
        """Open the connection; the broker's answer comes to the listener. Raises OSError."""
        self._hung_up = False
        self._client.dial(self._settings)

    def publish(self, reading: SimulatedMessage) -> None:
        """Publish a reading; it is resent until the broker acknowledges it. Check `room` first."""
        self._tally.published += 1
        self._client.publish(Outgoing(reading.topic, reading.payload, 1, retain=False), reading)

    def keep(self, reading: SimulatedMessage) -> None:
        """Keep a reading until there is a connection; it is sent before all later ones."""
        self._backlog.append(reading)

    def publish_kept(self) -> None:
        """Publish kept readings while there is room; the rest follows automatically."""
        while self._backlog and not self._in_flight.full:
            self.publish(self._backlog.popleft())

    def give_back_kept(self) -> list[SimulatedMessage]:
        """Return the kept readings, and keep none."""
        kept, self._backlog = list(self._backlog), deque()
        return kept

    def give_back_all(self) -> list[SimulatedMessage]:
        """Return the kept readings and those in flight, which the broker may have received."""
        sent = self._in_flight.items
        readings = [item for item in sent.values() if isinstance(item, SimulatedMessage)]
        self._in_flight.items = {mid: i for mid, i in sent.items() if isinstance(i, Outgoing)}
        return readings + self.give_back_kept()

    def send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send another message as soon as there is room, before all further readings."""
        self._waiting.append(Outgoing(topic, payload, 1, retain))
        self._send_waiting()

    def hang_up(self) -> None:
        """Disconnect, after everything before it is written."""
        self._hung_up = True
        self._client.client.disconnect()

    def give_up(self, error: str) -> None:
        """Disconnect from a broker that does not answer; the connection counts as lost."""
        self._client.give_up(error)

    def keep_alive(self) -> None:
        """Ping the broker when it is due, or disconnect if it does not answer.

        Call it about every second.
        """
        self._client.client.loop_misc()

    def on_open(self) -> None:
        """Subscribe."""
        self._client.client.subscribe(self._topic, 1)

    def on_settled(self, item: SimulatedMessage | Outgoing, reason: ReasonCode) -> None:
        """Count a reading, and publish what waits for room."""
        if isinstance(item, SimulatedMessage):
            if reason.is_failure:
                self._tally.refused += 1
            else:
                self._tally.acknowledged += 1
        if self._waiting:
            self._send_waiting()
        if self._backlog:
            self.publish_kept()
        if not self.outstanding:
            self._listener.settled()

    def on_end(self, error: str) -> None:
        """Notify the listener."""
        self._listener.lost("" if self._hung_up else error)

    def _send_waiting(self) -> None:
        while self._waiting and not self._in_flight.full:
            message = self._waiting.popleft()
            self._client.publish(message, message)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any
    ) -> None:
        self._listener.opened(not reasons[0].is_failure)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._listener.received(bytes(message.payload))
