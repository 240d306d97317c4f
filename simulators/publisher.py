"""Publishing at QoS 1 as fast as paho can: its external event loop, and a window of unacknowledged messages."""

import secrets
import select
import time
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from config import Settings

WINDOW = 1000
# paho 2.2 forgets the rest of a WebSocket frame that the socket took only in part. So few messages
# that they always fit into the socket's buffer are never taken in part.
WEBSOCKET_WINDOW = 50
FIRST_DELAY = 1.0
LONGEST_DELAY = 10.0
_CONNECT_SECONDS = 10.0
_TCP_SECONDS = 3.0


class BrokerError(Exception):
    """The broker cannot be used: the text says which and why."""


class Publisher:
    """A connection that publishes, counts acknowledgements, and comes back when the broker does.

    It is driven by calling `turn` again and again; nothing happens between the calls.
    """

    def __init__(self, settings: Settings) -> None:
        self._broker = settings.broker
        self._keepalive = settings.mqtt_keepalive
        self._client = _client(settings)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        # With this set paho queues what is published, and we decide when it is written.
        self._client.on_socket_register_write = _written_by_turn
        self._most = WEBSOCKET_WINDOW if self._broker.transport == "websockets" else WINDOW
        self._window = self._most
        self._delay = FIRST_DELAY
        self._next_try = 0.0
        self.connected = False
        self.fault = ""
        """Why the connection was lost or refused the last time."""
        self.published = 0
        self.acknowledged = 0
        self.refused = 0
        """Messages that the broker acknowledged with an error (MQTT 5 only)."""

    @property
    def outstanding(self) -> int:
        """How many messages are published and not acknowledged."""
        return self.published - self.acknowledged - self.refused

    @property
    def room(self) -> int:
        """How many messages may be published now."""
        return max(0, self._window - self.outstanding) if self.connected else 0

    def connect(self) -> None:
        """Connect for the first time. Raises BrokerError."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        try:
            self._client.connect(self._broker.host, self._broker.port, self._keepalive)
        except OSError as error:
            raise BrokerError(f"the broker at {self._broker} cannot be reached: {_reason(error)}") from error
        while not self.connected and self._client.socket() and time.monotonic() < deadline:
            self._exchange(0.1)
        if not self.connected:
            reason = self.fault or f"no answer within {_CONNECT_SECONDS:.0f} s"
            raise BrokerError(f"the broker at {self._broker} does not accept the connection: {reason}")

    def publish(self, topic: str, payload: bytes) -> None:
        """Take over a message; it is sent until the broker acknowledges it. Ask `room` first."""
        self.published += 1
        # The packet id may still be taken by a message that waits since 65,535 messages: then the next one is free.
        while self._client.publish(topic, payload, qos=1).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            pass

    def turn(self, timeout: float) -> None:
        """Write, wait up to `timeout` seconds for the broker, read; or try to reconnect."""
        if self._client.socket() is None:
            self._retry(timeout)
        else:
            self._exchange(timeout)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        deadline = time.monotonic() + 0.5
        while self._client.socket() and time.monotonic() < deadline:
            self._exchange(0.05)

    def _exchange(self, timeout: float) -> None:
        self._client.loop_write()
        sock: Any = self._client.socket()
        if sock is None:
            return
        # TLS may have decrypted data that select cannot see.
        held = sock.pending() if hasattr(sock, "pending") else 0
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock], writers, [], 0 if held else timeout)
        if readable or held:
            self._client.loop_read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def _retry(self, timeout: float) -> None:
        wait = self._next_try - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, timeout))
            return
        try:
            self._client.reconnect()
        except OSError as error:
            self.fault = _reason(error)
            self._postpone()

    def _postpone(self) -> None:
        self._next_try = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)

    def _on_connect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.fault = str(reason)
            return
        self.connected, self.fault, self._delay = True, "", FIRST_DELAY
        # An MQTT 5 broker disconnects whoever exceeds its own window.
        self._window = min(self._most, getattr(properties, "ReceiveMaximum", self._most))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        self.connected = False
        # Of a connection that breaks, paho's reason is no more than "Unspecified error".
        self.fault = self.fault or (str(reason) if flags.is_disconnect_packet_from_server else "connection lost")
        self._postpone()

    def _on_publish(self, _client: mqtt.Client, _data: Any, _mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused += 1
        else:
            self.acknowledged += 1


def _client(settings: Settings) -> mqtt.Client:
    broker = settings.broker
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"autoforge-simulator-{secrets.token_hex(4)}",
        protocol=mqtt.MQTTv5 if settings.mqtt_protocol == "5" else mqtt.MQTTv311,
        transport=broker.transport,
        reconnect_on_failure=False,
    )
    # 0 is no limit: the window is ours, and with its own paho walks over all messages at every acknowledgement.
    client.max_inflight_messages = 0
    client.max_queued_messages = 0
    client.connect_timeout = _TCP_SECONDS
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    if broker.transport == "websockets":
        client.ws_set_options(path=broker.path)
    if broker.tls:
        _use_tls(client, settings)
    return client


def _use_tls(client: mqtt.Client, settings: Settings) -> None:
    files = (settings.mqtt_ca_cert, settings.mqtt_client_cert, settings.mqtt_client_key)
    authority, certificate, key = (str(file) if file else None for file in files)
    try:
        client.tls_set(authority, certificate, key)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise BrokerError(f"the files MQTT_CA_CERT, MQTT_CLIENT_CERT, MQTT_CLIENT_KEY: {_reason(error)}") from error


def _written_by_turn(_client: mqtt.Client, _data: Any, _sock: Any) -> None:
    """`turn` asks `want_write()` anyway."""


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error) or type(error).__name__
