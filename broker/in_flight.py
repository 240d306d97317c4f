"""The in-flight window: messages published on a connection and not acknowledged yet."""

from typing import Any, Generic, NamedTuple, TypeVar

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

T = TypeVar("T")
MAX_IN_FLIGHT = 1000
"""Messages in flight on one connection."""
# paho 2.2 loses the rest of a WebSocket frame that the socket accepts only in part. This number of
# messages always fits into the socket's buffer.
MAX_WEBSOCKET_IN_FLIGHT = 50


class Outgoing(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class InFlight(Generic[T]):
    """Messages in flight by packet id, each with an item that identifies it to its sender."""

    __slots__ = ("_most", "items", "size")

    def __init__(self, most: int, transport: str) -> None:
        self._most = min(most, MAX_WEBSOCKET_IN_FLIGHT) if transport == "websockets" else most
        self.size = self._most
        self.items: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self.items)

    @property
    def full(self) -> bool:
        """Whether no further message may be published."""
        return len(self.items) >= self.size

    def limit(self, properties: Any) -> None:
        """Apply the broker's Receive Maximum; an MQTT 5 broker disconnects a client above it."""
        self.size = min(self._most, getattr(properties, "ReceiveMaximum", self._most))

    def publish(self, client: paho.Client, message: Outgoing, item: T) -> T | None:
        """Publish; return the item that had the same packet id before, whose message is lost."""
        while True:
            info = client.publish(*message)
            # The next of the 65,535 packet ids may still be in flight.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                break
        # At QoS 0 paho does not check whether the packet id is in flight.
        displaced = self.items.pop(info.mid, None)
        self.items[info.mid] = item
        return displaced

    def settle(self, packet_id: int) -> T | None:
        """Remove and return the item of a packet id."""
        return self.items.pop(packet_id, None)

    def clear(self) -> list[T]:
        """Remove and return all items."""
        items, self.items = list(self.items.values()), {}
        return items
