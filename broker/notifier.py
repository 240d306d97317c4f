"""Change notifications: the keys of new rows, sent to the other processes over the broker."""

import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.connection import connect, new_client
from config import Settings
from utils.logger import Throttle

logger = logging.getLogger(__name__)
MAX_ENTRIES = 2_000
"""A longer change set says only that everything may be new."""
MAX_UNDER_WAY = 20
RETRY_SECONDS = 1.0
LONGEST_DELAY = 10
ANSWER_SECONDS = 5.0
Key = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*$")]
"""A key that every kind of database can look up."""


class ChangeSet(msgspec.Struct, omit_defaults=True):
    """New data in the database, as keys to look up."""

    readings: dict[str, list[datetime]] = {}
    """By stream: the `created_at` that all rows of a committed batch share."""
    commands: list[Key] = []
    """Ids of commands whose state has changed."""
    devices: list[Key] = []
    """Devices that went online or offline."""
    everything: bool = False
    """Whether any of these may be new, because notices may have been missed."""
    origin: str = ""
    """The process that sent it."""

    def __bool__(self) -> bool:
        return bool(self.readings or self.commands or self.devices or self.everything)

    def add(self, other: "ChangeSet") -> None:
        """Add another's entries; if they become too many, say only that there were some."""
        for stream, timestamps in other.readings.items():
            self.readings.setdefault(stream, []).extend(timestamps)
        self.commands.extend(other.commands)
        self.devices.extend(other.devices)
        self.everything = self.everything or other.everything
        readings = sum(map(len, self.readings.values()))
        if readings + len(self.commands) + len(self.devices) > MAX_ENTRIES:
            self.readings, self.commands, self.devices = {}, [], []
            self.everything = True


class Outbox:
    """Changes that wait for the broker, merged into one change set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = ChangeSet()
        self._under_way = 0

    def add(self, changes: ChangeSet) -> None:
        """Merge changes into the waiting ones."""
        with self._lock:
            self._waiting.add(changes)

    def take(self) -> ChangeSet | None:
        """Return the waiting changes; None without any, or if too many are unacknowledged."""
        with self._lock:
            if not self._waiting or self._under_way >= MAX_UNDER_WAY:
                return None
            taken, self._waiting = self._waiting, ChangeSet()
            self._under_way += 1
            return taken

    def acknowledged(self) -> None:
        """Record that the broker has acknowledged a change set."""
        with self._lock:
            self._under_way = max(0, self._under_way - 1)

    def reset(self) -> None:
        """Expect no acknowledgements of earlier change sets."""
        with self._lock:
            self._under_way = 0


class Notifier:
    """Notifies the parts of this process and, over a topic of their own, the other processes.

    `topic` returns that topic, or None as long as it is not known.
    """

    def __init__(self, settings: Settings, topic: Callable[[], str | None]) -> None:
        self._settings = settings
        self._find_topic = topic
        self._origin = ""
        self._topic = ""
        self._listeners: list[Callable[[ChangeSet], None]] = []
        self._client = new_client(settings, "", persistent=False)
        self._client.reconnect_delay_set(1, LONGEST_DELAY)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._outbox = Outbox()
        self._asked_at = math.inf
        self._throttle = Throttle(seconds=60)
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self.listening = False
        """Whether the changes of other processes arrive."""

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> None:
        """Call `listener` with all changes, on any thread; it must neither block nor raise."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Connect in the background; reconnect whenever the connection is lost."""
        # Not before: processes that fork after the wiring would share it.
        self._origin = secrets.token_hex(6)
        threading.Thread(target=self._join, name="notices", daemon=True).start()

    def stop(self) -> None:
        """Disconnect."""
        with self._starting:
            self._stop.set()
        self._client.disconnect()
        self._client.loop_stop()

    def notify(self, changes: ChangeSet) -> None:
        """Notify the listeners of this process now, the other processes over the broker."""
        if not changes:
            return
        self._spread(changes)
        self._outbox.add(changes)
        self._send()

    def _send(self) -> None:
        if not self.listening:
            self._warn_if_forbidden()
        elif changes := self._outbox.take():
            # Not under a lock: paho calls `_on_publish` while it holds one that `publish` needs.
            self._publish(changes)

    def _publish(self, changes: ChangeSet) -> None:
        changes.origin = self._origin
        self._client.publish(self._topic, msgspec.json.encode(changes), qos=1)

    def _warn_if_forbidden(self) -> None:
        if time.monotonic() - self._asked_at > ANSWER_SECONDS:
            forbidden = (
                f"{self._settings.broker} does not allow AutoForge to use the topic {self._topic}"
            )
            self._throttle.warn(logger, "deaf", forbidden)

    def _join(self) -> None:
        while not self._stop.is_set():
            if topic := self._find_topic():
                self._topic = topic
                with contextlib.suppress(OSError, ValueError):
                    connect(self._client, self._settings, persistent=False)
                    self._begin_loop()
                    return
            self._stop.wait(RETRY_SECONDS)

    def _begin_loop(self) -> None:
        # Not while `stop` looks for the thread that this starts.
        with self._starting:
            if not self._stop.is_set():
                self._client.loop_start()

    def _on_connect(
        self,
        client: paho.Client,
        _: Any,
        __: Any,
        reason: ReasonCode,
        ___: Any,
    ) -> None:
        if not reason.is_failure:
            client.subscribe(self._topic, 1)

    def _on_subscribe(self, _: Any, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        if codes[0].is_failure:
            self._asked_at = -math.inf
            return
        # A broker may grant a subscription whose messages it drops, as Mosquitto does with an
        # access list. The arrival of our own message proves that it does not.
        self._asked_at = time.monotonic()
        self._publish(ChangeSet())

    def _begin(self) -> None:
        self._outbox.reset()
        self.listening = True
        self._send()
        self._spread(ChangeSet(everything=True))

    def _on_disconnect(self, *_: Any) -> None:
        self._asked_at = math.inf
        self.listening = False

    def _on_publish(self, *_: Any) -> None:
        self._outbox.acknowledged()
        self._send()

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        try:
            changes = msgspec.json.decode(message.payload, type=ChangeSet)
        except (ValueError, RecursionError) as error:  # no DecodeError if it is not UTF-8
            ignored = f"Ignored an invalid notice on {self._topic}: {error}"
            self._throttle.warn(logger, "foreign", ignored)
            return
        if changes.origin != self._origin:
            # A client may publish more than the database can look up at once.
            bounded = ChangeSet(origin=changes.origin)
            bounded.add(changes)
            if bounded:
                self._spread(bounded)
        elif not self.listening:
            self._begin()

    def _spread(self, changes: ChangeSet) -> None:
        for listener in self._listeners:
            listener(changes)
