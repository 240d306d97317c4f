"""The client of a persistent session: connects, subscribes, acknowledges and disconnects."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.attempts import Attempts
from broker.batch import MessageBatch
from broker.connection import connect, corked, new_client
from broker.errors import TAKEN_OVER, closed_at_once, lost, refused, unreachable
from broker.message import Filters, Receiver
from broker.session_filters import SessionFilters
from broker.state import ConnectionState
from broker.waiter import Waiter
from config import Settings

FLUSH_SECONDS = 2.0
NOTHING = "autoforge/nothing/notices"
"""A topic without subscribers, which the access list of `flask acl` lets AutoForge write to."""


class PersistentClient:
    """A paho client and its session; collects received messages in `batch`.

    One thread drives it, through paho's external event loop. The loss of a connection is not
    reported once `stopping` is set.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        filters: Filters,
        receiver: Receiver,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._receiver = receiver
        self._stopping = stopping
        version5 = settings.mqtt_protocol == "5"
        self.session = SessionFilters(filters, self._on_settled, version5=version5)
        self.batch = MessageBatch(self.session.subscriptions)
        address, topics = settings.broker, ", ".join(filters.wanted)
        subscribed = f"Subscribed to {topics} at {address}"
        connected = f"Connected to {address} as {client_id}, without a subscription"
        self.state = ConnectionState(subscribed if topics else connected)
        self._attempts = Attempts()
        self._flush_done = False
        self._waiter = Waiter()
        self.client = new_client(settings, client_id, persistent=True)
        """Public for reading, which happens once for each message."""
        self._set_callbacks(self.client)

    def _set_callbacks(self, client: paho.Client) -> None:
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self.batch.on_message
        self._waiter.watch(client)

    def connect_if_due(self) -> None:
        """Connect if there is no connection, an attempt is due, and this process may."""
        if self.client.socket() is not None:
            if self.state.connected or not self._attempts.overdue():
                return
            broker = self._settings.broker
            self.state.set_disconnected(f"{broker} accepts connections but does not answer")
        if not self._attempts.due() or not self._receiver.may_connect():
            return
        self._attempts.begin()
        try:
            connect(self.client, self._settings, persistent=True)
        except (OSError, ValueError) as error:
            self.state.set_disconnected(unreachable(self._settings.broker, error))

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for the connection to be readable or writable, or for `wake`."""
        self._waiter.wait(self.client, seconds)

    def wake(self) -> None:
        """End `wait`; any thread may call this."""
        self._waiter.wake()

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Acknowledge messages in this order, as long as the connection lasts."""
        client, state = self.client, self.state
        with corked(client):
            for packet_id in packet_ids:
                if not state.connected:
                    break
                client.ack(packet_id, 1)

    def publish(self, topic: str, payload: bytes) -> Callable[[], bool]:
        """Publish at QoS 1 without waiting; the result tells whether it is acknowledged."""
        published = self.client.publish(topic, payload, qos=1)
        return lambda: published.rc == paho.MQTT_ERR_SUCCESS and published.is_published()

    def write(self) -> None:
        """Send pending data."""
        if self.client.want_write():
            self.client.loop_write()

    def tick(self) -> None:
        """Keep the connection alive; call this every second."""
        self.client.loop_misc()
        self.session.settle_if_overdue()

    def close(self) -> None:
        """Disconnect, once the broker has read all acknowledgements."""
        if self.state.connected:
            self._flush_acknowledgements()
        self.client.disconnect()
        self.client.loop_write()
        self._waiter.close()

    def _flush_acknowledgements(self) -> None:
        # When the next ingester connects, a broker drops the acknowledgements that it has not read.
        # It reads in order, so its answer to a request without effect proves that it has read them.
        self._flush_done = False
        self.client.unsubscribe(NOTHING)
        deadline = time.monotonic() + FLUSH_SECONDS
        while not self._flush_done and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
            self.client.loop_read()
            self.client.loop_write()

    def _on_connect(self, _: Any, __: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._attempts.answered = True
        if reason.is_failure:
            self.state.set_disconnected(refused(self._settings.broker, reason))
            return
        self._attempts.accepted()
        self.session.connected(session_present=flags.session_present)
        self.state.set_unsubscribed("waiting for the subscription")
        self._receiver.connected(session_present=flags.session_present)
        self.session.request(self.client, properties)

    def _on_subscribe(self, _: Any, __: Any, mid: int, codes: list[ReasonCode], ___: Any) -> None:
        if denied := self.session.granted(self.client, mid, codes):
            self.state.set_unsubscribed(f"the broker refused QoS 1 for {', '.join(denied)}")

    def _on_unsubscribe(self, *_: Any) -> None:
        if self.session.settled:
            self._flush_done = True
        else:
            self.session.settle()

    def _on_settled(self) -> None:
        self.state.set_subscribed()
        self._receiver.subscribed()

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        self._flush_done = True
        self.session.connection_lost()
        # Received messages are still handed over; the key absorbs their redelivery.
        self.batch.connection_lost()
        if self._stopping.is_set():
            return
        if self.state.connected:
            self._connection_lost(reason)
        elif not self._attempts.answered:
            self.state.set_disconnected(closed_at_once(self._settings))

    def _connection_lost(self, reason: ReasonCode) -> None:
        taken = reason.is_failure and reason.value == TAKEN_OVER
        soon = self._attempts.lost_soon()
        self.state.set_disconnected(lost(self._settings.broker, reason, soon=soon))
        if self._attempts.lost() or taken:
            self._receiver.evicted()
