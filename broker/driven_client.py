"""A paho client that the loop drives: it connects, keeps to the in-flight window, and notifies."""

from typing import Any, Generic, Protocol, TypeVar

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.connection import connect, send_at_once
from broker.in_flight import InFlight, Outgoing
from broker.loop import Loop
from config import Settings

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class ClientOwner(Protocol[T_contra]):
    """Owns a driven client, and is notified of its events."""

    def on_open(self) -> None:
        """Called when the broker has accepted the connection."""

    def on_settled(self, item: T_contra, reason: ReasonCode) -> None:
        """Called when a message is acknowledged or refused, at QoS 0 when it is written."""

    def on_end(self, error: str) -> None:
        """Called when a connection has ended or was refused; `error` says why."""


class DrivenClient(Generic[T]):
    """Reads and writes for a client by way of paho's external event loop."""

    __slots__ = (
        "_at_once",
        "_error",
        "_loop",
        "_owner",
        "_writing",
        "client",
        "dialed",
        "in_flight",
    )

    def __init__(
        self,
        client: paho.Client,
        loop: Loop,
        owner: ClientOwner[T],
        max_in_flight: int,
        *,
        at_once: bool,
    ) -> None:
        self.client = client
        self.in_flight: InFlight[T] = InFlight(max_in_flight, client.transport)
        # Whether the connection was opened and has not ended.
        self.dialed = False
        self._loop = loop
        self._owner = owner
        # Whether TCP sends each message at once; collecting is faster for a steady stream.
        self._at_once = at_once
        self._writing = False
        self._error = ""
        # 0 is no limit. With a window of its own paho walks over all messages at every
        # acknowledgement.
        client.max_inflight_messages = client.max_queued_messages = 0
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write

    def dial(self, settings: Settings) -> None:
        """Open the connection; the owner is notified of the broker's answer. Raises OSError."""
        self._error = ""
        try:
            # A message on a stream's topic needs a session that keeps it, like that of a device.
            connect(self.client, settings, persistent=False, as_device=True)
        except ValueError as error:
            raise OSError(str(error)) from error
        self.dialed = True

    def give_up(self, error: str) -> None:
        """Disconnect from a broker that does not answer."""
        self._error = error
        self.client.disconnect()

    def publish(self, message: Outgoing, item: T) -> T | None:
        """Publish; return an item that was lost, as `InFlight.publish` does."""
        return self.in_flight.publish(self.client, message, item)

    def cut(self) -> None:
        """Close the connection without DISCONNECT, so that the broker publishes the will."""
        opened = self.client.socket()
        if opened is not None:
            self._loop.forget(opened.fileno())
            self.client.on_socket_close = None
            opened.close()

    def _on_connect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._error = f"the broker refused the connection: {reason}"
            return
        self.in_flight.limit(properties)
        self._owner.on_open()

    def _on_publish(
        self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any
    ) -> None:
        item = self.in_flight.settle(mid)
        if item is not None:
            self._owner.on_settled(item, reason)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if not self.dialed:
            return
        self.dialed = False
        # For a broken connection, paho's reason is only "Unspecified error".
        by_broker = flags.is_disconnect_packet_from_server
        ended = str(reason) if by_broker else "the connection was lost"
        self._owner.on_end(self._error or ended)

    def _read(self) -> None:
        self.client.loop_read()
        # TLS may have decrypted data that the selector cannot see.
        while (opened := self.client.socket()) and hasattr(opened, "pending") and opened.pending():
            self.client.loop_read()
        if self._writing or self.client.want_write():
            self._write()

    def _write(self) -> None:
        self.client.loop_write()
        opened = self.client.socket()
        if opened and self._writing != self.client.want_write():
            self._writing = not self._writing
            self._loop.watch(opened.fileno(), self._read, self._writing)

    def _on_socket_open(self, client: paho.Client, data: Any, opened: Any) -> None:
        self._writing = False
        # paho also closes the socket if a later step fails; a closed socket must have been watched.
        self._loop.watch(opened.fileno(), self._read)
        if self._at_once:
            send_at_once(client, data, opened)

    def _on_socket_close(self, _client: paho.Client, _data: Any, closed: Any) -> None:
        self._loop.forget(closed.fileno())

    def _on_socket_register_write(self, _client: paho.Client, _data: Any, _opened: Any) -> None:
        self._loop.call_in(0, self._write)
