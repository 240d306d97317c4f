"""The Subscriber: receives, hands over, acknowledges; knows no database and no stream."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.backoff import Backoff
from broker.connection import Evictions, Waiter, connect, new_client, together
from broker.faults import TAKEN_OVER, closed_at_once, lost, refused, unreachable
from broker.message import Filters, Message, Receiver
from broker.subscriptions import Subscriptions
from config import Settings
from utils.clock import MICROSECOND, now, server_time

logger = logging.getLogger(__name__)
MAX_BATCH = 10_000
MAX_BATCH_BYTES = 8_000_000
MAX_HELD, MAX_HELD_BYTES = 65_535, 64_000_000
"""What is held while the receiver is not ready; QoS 1 cannot have more messages in flight."""
FIRST_BACKOFF, LAST_BACKOFF = 1.0, 10.0
HANDSHAKE_SECONDS = 10.0
FAREWELL_SECONDS = 2.0
NOTHING = "autoforge/nothing/notices"
"""A topic that nobody subscribes to, and on which the list of `flask acl` lets AutoForge write."""
TICK_SECONDS = 1.0


class Subscriber:
    """Receives messages, hands them over in batches and acknowledges what the receiver has stored.

    One thread calls `run`, which drives paho's external event loop; only `stop` may be called from another.
    """

    def __init__(self, settings: Settings, client_id: str, filters: Filters, receiver: Receiver) -> None:
        self._settings = settings
        self._filters = filters
        version5 = settings.mqtt_protocol == "5"
        self._subscriptions = Subscriptions(filters.wanted or filters.known, version5=version5)
        self._receiver = receiver
        self._moment = now()
        """When the last message was received; each has a later time than the one before."""
        self._held: list[Message] = []
        self._held_bytes = 0
        self._acks: dict[int, None] = {}
        """Packet ids to acknowledge, in the order received; only those of the present connection."""
        self._stopping = threading.Event()
        self._reconnect = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        self._retry = Backoff(FIRST_BACKOFF / 2, LAST_BACKOFF)
        self._next_tick = 0.0
        self._farewell_answered = False
        self._connecting_since = 0.0
        self._answered = False
        """Whether the broker has answered CONNECT."""
        self._evictions = Evictions()
        self._settled = True
        """Whether the session has the wanted filters and no other; what is received before waits, if there is room."""
        self._settled_by = math.inf
        self._new_session = False
        self._waiter = Waiter()
        self.connected = False
        self.subscribed = False
        self.problem: str | None = "not connected yet"
        self.changed_at = now()
        self._client = self._new_client(client_id)

    def run(self) -> None:
        """Receive until `stop`, or until the receiver's `tick` says so. Raises SettingsError at most."""
        try:
            while not self._stopping.is_set():
                self._connect_if_due()
                self._wait()
                self._read()
                self._deliver()
                self._maintain()
        finally:
            self._disconnect()

    def stop(self) -> None:
        """End `run` soon, after what was received has been handed over."""
        self._stopping.set()
        self._waiter.wake()

    @property
    def holding(self) -> int:
        """How many messages were received and are not stored."""
        return len(self._held)

    def publish(self, topic: str, payload: bytes) -> Callable[[], bool]:
        """Publish at QoS 1 without waiting; the answer says whether the broker has it yet. For the receiver alone."""
        published = self._client.publish(topic, payload, qos=1)
        return lambda: published.rc == paho.MQTT_ERR_SUCCESS and published.is_published()

    def _new_client(self, client_id: str) -> paho.Client:
        client = new_client(self._settings, client_id, persistent=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        self._waiter.watch(client)
        return client

    def _connect_if_due(self) -> None:
        if self._client.socket() is not None:
            waited = time.monotonic() - self._connecting_since
            if self.connected or waited < HANDSHAKE_SECONDS:
                return
            self._set_state(problem=f"{self._settings.broker} accepts connections but does not answer")
        if not self._reconnect.due() or not self._receiver.may_connect():
            return
        self._connecting_since, self._answered = time.monotonic(), False
        self._reconnect.failed()
        try:
            connect(self._client, self._settings, persistent=True)
        except (OSError, ValueError) as error:
            self._set_state(problem=unreachable(self._settings.broker, error))

    def _wait(self) -> None:
        if self._full():
            # Not reading is what tells the broker to wait.
            self._stopping.wait(TICK_SECONDS / 10)
            return
        self._waiter.wait(self._client, self._seconds_to_next_duty())

    def _seconds_to_next_duty(self) -> float:
        if self._held and self._settled and self._retry.due():
            return 0.0
        return min(TICK_SECONDS / 4, max(0.0, self._next_tick - time.monotonic()))

    def _full(self) -> bool:
        # While there is no connection, the answer to CONNECT has to be read all the same.
        return self.connected and (len(self._held) >= MAX_HELD or self._held_bytes >= MAX_HELD_BYTES)

    def _read(self) -> None:
        before, limit = -1, len(self._held) + MAX_BATCH
        byte_limit = self._held_bytes + MAX_BATCH_BYTES
        self._moment = server_time(self._moment)
        while before < len(self._held) < limit and self._held_bytes < byte_limit and not self._full():
            before = len(self._held)
            self._client.loop_read()

    def _deliver(self) -> None:
        # The broker's answers come after what it had under way: if that fills the memory, it must not wait for them.
        if not self._held or not self._retry.due() or not (self._settled or self._full()):
            return
        if self._settled and self._subscriptions.numbered:
            # Before the answers it is unknown which filters are granted, and so which message is a copy.
            self._subscriptions.mark(self._held)
        if not self._receiver.receive(self._held):
            self._retry.failed()
            return
        self._retry.reset()
        self._held.clear()
        self._held_bytes = 0
        acks, self._acks = self._acks, {}
        with together(self._client):
            for packet_id in acks:
                if not self.connected:
                    break
                self._client.ack(packet_id, 1)

    def _maintain(self) -> None:
        if self._client.want_write():
            self._client.loop_write()
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self._client.loop_misc()
            if not self._settled and time.monotonic() > self._settled_by:
                # rumqttd does not answer for a filter that it does not know.
                self._settle()
            if not self._receiver.tick():
                self._stopping.set()

    def _disconnect(self) -> None:
        # When the next ingester connects, a broker forgets the acknowledgements it has not read yet. It reads in order,
        # so that its answer to a question that changes nothing says that it has read them.
        if self.connected:
            self._farewell_answered = False
            self._client.unsubscribe(NOTHING)
            deadline = time.monotonic() + FAREWELL_SECONDS
            while not self._farewell_answered and time.monotonic() < deadline:
                self._wait()
                self._client.loop_read()
                self._client.loop_write()
        self._client.disconnect()
        self._client.loop_write()
        self._waiter.close()

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: ReasonCode, said: Any) -> None:
        self._answered = True
        if reason.is_failure:
            self._set_state(problem=refused(self._settings.broker, reason))
            return
        self._reconnect.reset()
        self._evictions.connected()
        self._settled, self._settled_by, self._new_session = False, math.inf, not flags.session_present
        self._set_state(connected=True, problem="waiting for the subscription")
        self._receiver.connected(session_present=flags.session_present)
        if self._filters.wanted:
            self._subscriptions.request(client, said)
        else:
            self._give_up(client)

    def _on_subscribe(self, client: paho.Client, _: Any, mid: int, codes: list[ReasonCode], __: Any) -> None:
        if not self._subscriptions.answered(mid, codes):
            return
        if denied := self._subscriptions.denied:
            self._settled = True
            self._set_state(connected=True, problem=f"the broker refused QoS 1 for {', '.join(denied)}")
        else:
            # Only now: what an unwanted filter shares with a wanted one must not go by in between.
            self._give_up(client)

    def _give_up(self, client: paho.Client) -> None:
        if self._new_session or not self._filters.unwanted:
            self._settle()
            return
        self._settled_by = time.monotonic() + HANDSHAKE_SECONDS
        client.unsubscribe(list(self._filters.unwanted))

    def _on_unsubscribe(self, *_: Any) -> None:
        if self._settled:
            self._farewell_answered = True
        else:
            self._settle()

    def _settle(self) -> None:
        self._settled = True
        self._set_state(connected=True, subscribed=True)
        self._receiver.subscribed()

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        self._farewell_answered = self._settled = True
        # What was received is still handed over; the broker sends it again, and the key absorbs it.
        self._acks.clear()
        if self._stopping.is_set():
            return
        if self.connected:
            self._tell_loss(reason)
        elif not self._answered:
            self._set_state(problem=closed_at_once(self._settings))

    def _tell_loss(self, reason: ReasonCode) -> None:
        taken = reason.is_failure and reason.value == TAKEN_OVER
        self._set_state(problem=lost(self._settings.broker, reason, soon=self._evictions.lost_soon()))
        if self._evictions.lost() or taken:
            self._receiver.evicted()

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        valid = True
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            valid, topic = False, bytes(error.object).decode(errors="backslashreplace")
        packet_id = message.mid if message.qos else 0
        if message.dup and packet_id in self._acks:
            return  # it is held already: some brokers send again what they wait for
        self._moment += MICROSECOND
        payload = message.payload
        held = Message(topic, bytes(payload), self._moment, packet_id, message.dup, valid, message.retain)
        if self._subscriptions.numbered:
            held.via = tuple(getattr(message.properties, "SubscriptionIdentifier", ()))
        self._held.append(held)
        self._held_bytes += len(payload)
        if packet_id:
            self._acks[packet_id] = None

    def _set_state(self, connected: bool = False, subscribed: bool = False, problem: str | None = None) -> None:
        if (connected, subscribed, problem) == (self.connected, self.subscribed, self.problem):
            return
        self.connected, self.subscribed, self.problem, self.changed_at = connected, subscribed, problem, now()
        if problem is None:
            logger.info("Subscribed to %s at %s", ", ".join(self._filters.wanted), self._settings.broker)
        elif not connected:
            logger.warning("MQTT: %s", problem)
