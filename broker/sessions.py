"""Sessions at the broker: open one beside another with a marker between them, or end one."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from broker.connection import connect, new_client
from broker.errors import refused, unreachable
from broker.subscriptions import Subscriptions
from config import Settings

MARKERS = "autoforge/sessions/notices"
"""The topic of markers; ingesters subscribe to it, access lists allow autoforge/+/notices."""
ANSWER_SECONDS = 10.0


class SessionError(Exception):
    """A session could not be opened or ended; the text says why."""


def open_beside(settings: Settings, client_id: str, filters: Sequence[str], token: str) -> None:
    """Open a persistent session, subscribe it, publish a marker with this token, and disconnect.

    Another session that keeps the same filters has all messages before the marker, and this one all
    messages after it. Messages that this session held before are deleted. Raises SessionError; then
    there may be no marker.
    """
    end(settings, client_id)
    session = _Session(settings, client_id, persistent=True)
    try:
        session.subscribe([MARKERS])
        # A broker acknowledges and drops a message that its access list forbids.
        probe = f"probe {token}".encode()
        session.publish(probe)
        forbidden = f"{settings.broker} does not allow AutoForge to use the topic {MARKERS}"
        session.wait(lambda: probe in session.probes, forbidden)
        session.subscribe(filters)
        session.publish(token.encode())
    finally:
        session.leave()


def end(settings: Settings, client_id: str) -> None:
    """Delete a session at the broker, with its waiting messages. Raises SessionError."""
    _Session(settings, client_id, persistent=False).leave()


def undelivered(settings: Settings, messages: Mapping[str, bytes], seconds: float) -> list[str]:
    """Publish a message on each topic; return the topics whose message does not come back.

    Raises SessionError.
    """
    session = _Session(settings, "", persistent=False)
    try:
        for topic in messages:
            with contextlib.suppress(SessionRefused):
                session.subscribe([topic])
        for topic, payload in messages.items():
            with contextlib.suppress(SessionRefused):
                session.publish(payload, topic)
        with contextlib.suppress(SessionError):
            session.wait(lambda: session.topics >= {*messages}, "", seconds)
        return [topic for topic in messages if topic not in session.topics]
    finally:
        session.leave()


class SessionRefused(SessionError):
    """The broker has refused a filter or a message."""


class _Session:
    """A connection that waits for each answer; it acknowledges only probes."""

    def __init__(self, settings: Settings, client_id: str, *, persistent: bool) -> None:
        self.probes: set[bytes] = set()
        """The probes on the topic of markers."""
        self.topics: set[str] = set()
        self._broker = settings.broker
        self._version5 = settings.mqtt_protocol == "5"
        self._properties: Any = None
        """The properties of the broker's answer to CONNECT."""
        self._answers: dict[int, bool] = {}
        self._connected: ReasonCode | None = None
        client = self._client = new_client(settings, client_id, persistent=persistent)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        try:
            connect(client, settings, persistent=persistent)
        except (OSError, ValueError) as error:
            raise SessionError(unreachable(self._broker, error)) from error
        self.wait(lambda: self._connected is not None, f"{self._broker} does not answer")
        if self._connected is not None and self._connected.is_failure:
            raise SessionError(refused(self._broker, self._connected))

    def subscribe(self, filters: Sequence[str]) -> None:
        refusal = f"{self._broker} refused QoS 1 for one of {', '.join(filters)}"
        subscriptions = Subscriptions(filters, version5=self._version5)
        for code, mid in subscriptions.request(self._client, self._properties):
            self._expect(code, mid, refusal)

    def publish(self, payload: bytes, topic: str = MARKERS) -> None:
        info = self._client.publish(topic, payload, qos=1)
        self._expect(info.rc, info.mid, f"{self._broker} refused a message on {topic}")

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_write()

    def wait(
        self,
        condition: Callable[[], bool],
        error: str,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Drive the connection until a condition holds. Raises SessionError with `error`."""
        deadline = time.monotonic() + seconds
        while not condition():
            lost = self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS
            if lost or time.monotonic() > deadline:
                raise SessionError(f"{error}; the connection was lost" if lost else error)

    def _expect(self, code: MQTTErrorCode, mid: int | None, refusal: str) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise SessionError(f"{refusal}; the connection was lost")
        self.wait(lambda: mid in self._answers, f"{self._broker} does not answer")
        if not self._answers.pop(mid):
            raise SessionRefused(refusal)

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: ReasonCode, properties: Any) -> None:
        self._connected, self._properties = reason, properties

    def _on_subscribe(self, _: Any, __: Any, mid: int, codes: list[ReasonCode], ___: Any) -> None:
        self._answers[mid] = all(not code.is_failure and code.value == 1 for code in codes)

    def _on_publish(self, _: Any, __: Any, mid: int, reason: ReasonCode, ___: Any) -> None:
        self._answers[mid] = not reason.is_failure

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        # The next client of this session receives unacknowledged messages again.
        with contextlib.suppress(UnicodeDecodeError):
            self.topics.add(message.topic)
            if message.topic == MARKERS and message.payload.startswith(b"probe"):
                self.probes.add(bytes(message.payload))
                client.ack(message.mid, message.qos)
