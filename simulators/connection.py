"""A board's MQTT connection at QoS 1, driven by the loop: paho's external event loop, and a window."""

from collections import deque
from typing import Any, NamedTuple, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode

from broker.loop import Driver, Loop
from simulators.device import Message
from simulators.tally import Tally

WINDOW = 1000
# paho 2.2 forgets the rest of a WebSocket frame that the socket took only in part. So few messages
# that they always fit into the socket's buffer are never taken in part.
WEBSOCKET_WINDOW = 50


class Limits(NamedTuple):
    """How a connection sends."""

    window: int
    """How many messages may be unacknowledged."""
    at_once: bool
    """Whether TCP sends each message on its own; otherwise it collects them, which is faster for a steady stream."""


class Listener(Protocol):
    """Whom a connection tells what happens."""

    def opened(self, obeys: bool) -> None:
        """The broker accepted the connection; whether it also lets it subscribe."""

    def heard(self, payload: bytes) -> None:
        """A message came on the subscribed topic."""

    def settled(self) -> None:
        """Everything that was sent is acknowledged."""

    def lost(self, fault: str) -> None:
        """The connection ended; without a fault it was hung up."""


class _Said(NamedTuple):
    topic: str
    payload: bytes
    retain: bool


class Connection:
    """Publishes readings and says other things at QoS 1; what a lost broker did not acknowledge is sent again."""

    def __init__(self, client: mqtt.Client, loop: Loop, listener: Listener, tally: Tally, limits: Limits) -> None:
        self._client = client
        self._listener = listener
        self._tally = tally
        self._most = min(limits.window, WEBSOCKET_WINDOW) if client.transport == "websockets" else limits.window
        self._window = self._most
        self._topic = ""
        self._readings: dict[int, Message] = {}
        self._backlog: deque[Message] = deque()
        self._others: set[int] = set()
        self._waiting: deque[_Said] = deque()
        self._dialled = self._hung_up = False
        self._fault = ""
        Driver(client, loop, at_once=limits.at_once)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect

    @property
    def outstanding(self) -> int:
        """How many messages are not acknowledged, sent or not."""
        return len(self._readings) + len(self._others) + len(self._waiting) + len(self._backlog)

    @property
    def room(self) -> int:
        """How many readings may be published now; none before those that were kept."""
        under_way = len(self._readings) + len(self._others) + len(self._waiting)
        return 0 if self._backlog else max(0, self._window - under_way)

    @property
    def closed(self) -> bool:
        """Whether there is no connection to the broker."""
        return self._client.socket() is None

    def listen(self, topic: str, will: tuple[str, bytes]) -> None:
        """Subscribe to a topic at every connect, and leave a retained will (topic, payload) with the broker."""
        self._topic = topic
        self._client.will_set(*will, qos=1, retain=True)

    def dial(self) -> None:
        """Open the connection; the broker's answer comes to the listener. Raises OSError."""
        self._hung_up, self._fault = False, ""
        self._client.reconnect()
        self._dialled = True

    def publish(self, reading: Message) -> None:
        """Take over a reading; it is sent until the broker acknowledges it. Ask `room` first."""
        self._tally.published += 1
        self._readings[self._send(reading.topic, reading.payload)] = reading

    def keep(self, reading: Message) -> None:
        """Take over a reading for when there is a connection; it goes before all that are published later."""
        self._backlog.append(reading)

    def publish_kept(self) -> None:
        """Publish what was kept, as far as there is room; the rest follows by itself."""
        while self._backlog and len(self._readings) + len(self._others) < self._window:
            self.publish(self._backlog.popleft())

    def give_back_kept(self) -> list[Message]:
        """Give back what was kept."""
        kept, self._backlog = list(self._backlog), deque()
        return kept

    def give_back_all(self) -> list[Message]:
        """Give back what was kept and what the broker has not acknowledged; the broker may have that all the same."""
        readings, self._readings = list(self._readings.values()), {}
        return readings + self.give_back_kept()

    def say(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send something else, as soon as there is room; it goes before all further readings."""
        self._waiting.append(_Said(topic, payload, retain))
        self._say_waiting()

    def hang_up(self) -> None:
        """Disconnect, when all before it is written."""
        self._hung_up = True
        self._client.disconnect()

    def give_up(self, fault: str) -> None:
        """Disconnect from a broker that does not answer; it counts as lost."""
        self._fault = fault
        self._client.disconnect()

    def keep_alive(self) -> None:
        """Ping the broker if it is time, or give up one that does not answer. Call it every second or so."""
        self._client.loop_misc()

    def _say_waiting(self) -> None:
        # An MQTT 5 broker disconnects whoever exceeds its window.
        while self._waiting and len(self._readings) + len(self._others) < self._window:
            self._others.add(self._send(*self._waiting.popleft()))

    def _send(self, topic: str, payload: bytes, retain: bool = False) -> int:
        while True:
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            # A packet id may be taken by a message that waits since 65,535 messages: then the next one is free.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return info.mid

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._fault = str(reason)
            return
        self._window = min(self._most, getattr(properties, "ReceiveMaximum", self._most))
        client.subscribe(self._topic, 1)

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self._listener.opened(not reasons[0].is_failure)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._listener.heard(bytes(message.payload))

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if self._readings.pop(mid, None) is None:
            self._others.discard(mid)  # or it is a reading that was given back
        elif reason.is_failure:
            self._tally.refused += 1
        else:
            self._tally.acknowledged += 1
        if self._waiting:
            self._say_waiting()
        if self._backlog:
            self.publish_kept()
        if not self.outstanding:
            self._listener.settled()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if not self._dialled:
            return
        self._dialled = False
        # Of a connection that breaks, paho's reason is no more than "Unspecified error".
        by_broker = flags.is_disconnect_packet_from_server
        fault = self._fault or (str(reason) if by_broker else "connection lost")
        self._listener.lost("" if self._hung_up else fault)
