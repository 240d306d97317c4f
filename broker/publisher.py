"""The Publisher: sends single messages, and waits until the broker acknowledges them."""

import threading
import time
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from broker.connection import connect, new_client
from broker.errors import closed_at_once, refused, unreachable
from config import Settings

SILENT_SECONDS = 1.0
"""How long to make no attempt after the broker did not answer."""


class PublishError(Exception):
    """A message could not be published; the text says why. It is not sent later."""

    def __init__(self, reason: str, may_be_sent: bool = False) -> None:
        super().__init__(reason)
        self.may_be_sent = may_be_sent


class Publisher:
    """Publishes single messages, and waits for the broker's acknowledgement.

    Connects when first used. A `will`, topic and payload, is published by the broker, retained,
    when the connection breaks.
    """

    def __init__(
        self,
        settings: Settings,
        timeout: float = 5.0,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.connections = 0
        """How many times it has connected."""
        self._settings = settings
        self._timeout = timeout
        self._will = will
        self._lock = threading.Lock()
        self._client: paho.Client | None = None
        self._silent_until = 0.0

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until the broker acknowledges it.

        Raises PublishError, also if the broker refuses the message.
        """
        client = self._connected_client()
        info = client.publish(topic, payload, qos=1, retain=retain)
        if not self._is_acknowledged(info):
            # paho would send the message when it reconnects, long after the caller saw it fail.
            self._discard(client)
            raise PublishError(
                f"{self._settings.broker} did not acknowledge the message",
                may_be_sent=info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS,
            )
        if refusal := client.user_data_get().pop(info.mid, None):
            raise PublishError(f"{self._settings.broker} refused the message on {topic}: {refusal}")

    def _is_acknowledged(self, info: paho.MQTTMessageInfo) -> bool:
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        try:
            info.wait_for_publish(self._timeout)
            return info.is_published()
        except (RuntimeError, ValueError):
            return False

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            client = self._client
        if client is not None:
            self._discard(client)

    def _connected_client(self) -> paho.Client:
        if not self._lock.acquire(timeout=self._timeout):
            raise PublishError(f"{self._settings.broker} does not answer")
        try:
            return self._connect_if_needed()
        finally:
            self._lock.release()

    def _connect_if_needed(self) -> paho.Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        if time.monotonic() < self._silent_until:
            # The threads that waited for the lock would each wait for another timeout.
            raise PublishError(f"{self._settings.broker} does not answer")
        if self._client is not None:
            _end(self._client)
        client = new_client(self._settings, "", persistent=False)
        if self._will is not None:
            client.will_set(*self._will, qos=1, retain=True)
        self._open(client)
        self._client = client
        self.connections += 1
        return client

    def _open(self, client: paho.Client) -> None:
        answered = threading.Event()
        refusals: list[str] = []

        def on_connect(_: paho.Client, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
            if reason.is_failure:
                refusals.append(refused(self._settings.broker, reason))
            answered.set()

        def on_disconnect(*_: Any) -> None:
            if not answered.is_set():
                refusals.append(closed_at_once(self._settings))
                answered.set()

        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.user_data_set({})
        client.on_publish = _note_refusal
        try:
            connect(client, self._settings, persistent=False)
        except (OSError, ValueError) as error:
            raise PublishError(unreachable(self._settings.broker, error)) from error
        client.loop_start()
        if not answered.wait(self._timeout):
            self._silent_until = time.monotonic() + SILENT_SECONDS
            refusals = [f"{self._settings.broker} does not answer"]
        if refusals:
            _end(client)
            raise PublishError(refusals[0])

    def _discard(self, client: paho.Client) -> None:
        with self._lock:
            if self._client is client:
                self._client = None
        _end(client)


def _note_refusal(_: Any, refusals: dict[int, str], mid: int, reason: ReasonCode, __: Any) -> None:
    """Keep the error in the acknowledgement of a message (MQTT 5 only)."""
    if reason.is_failure:
        refusals[mid] = str(reason)


def _end(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()
