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
"""A change set with more entries than this says only that everything may be new."""
MAX_UNDER_WAY = 20
RETRY_SECONDS = 1.0
LONGEST_DELAY = 10
ANSWER_SECONDS = 5.0
Key = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*$")]
"""What can be looked up in every database."""


class ChangeSet(msgspec.Struct, omit_defaults=True):
    """What is new in the database, as keys to be looked up."""

    readings: dict[str, list[datetime]] = {}
    """By stream: the `created_at` that all rows of a committed batch share."""
    commands: list[Key] = []
    """Ids of commands whose state has changed."""
    devices: list[Key] = []
    """Devices that went online or offline."""
    everything: bool = False
    """Whether any of these may be new, because notices may have been missed."""
    origin: str = ""
    """The process that says so."""

    def __bool__(self) -> bool:
        return bool(self.readings or self.commands or self.devices or self.everything)

    def add(self, other: "ChangeSet") -> None:
        """Take over another's entries; of too many, only that there were some."""
        for stream, timestamps in other.readings.items():
            self.readings.setdefault(stream, []).extend(timestamps)
        self.commands.extend(other.commands)
        self.devices.extend(other.devices)
        self.everything = self.everything or other.everything
        if sum(map(len, self.readings.values())) + len(self.commands) + len(self.devices) > MAX_ENTRIES:
            self.readings, self.commands, self.devices, self.everything = {}, [], [], True


class Notifier:
    """Notifies this process's parts, and the other processes over a topic that only AutoForge uses."""

    def __init__(self, settings: Settings, topic: Callable[[], str | None]) -> None:
        """`topic` tells the topic, or None as long as it is not known."""
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
        self._lock = threading.Lock()
        self._waiting = ChangeSet(origin=self._origin)
        self._under_way = 0
        self._asked_at = math.inf
        self._throttle = Throttle(seconds=60)
        self._stop = threading.Event()
        self.listening = False
        """Whether the changes of other processes arrive."""

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> None:
        """Have `listener` called with all changes, on whatever thread they come by; it must neither block nor raise."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        # Not before: processes that are forked from one that was wired would all take themselves for it.
        with self._lock:
            self._origin = self._waiting.origin = secrets.token_hex(6)
        threading.Thread(target=self._join, name="notices", daemon=True).start()

    def stop(self) -> None:
        """Disconnect."""
        with self._lock:
            self._stop.set()
        self._client.disconnect()
        self._client.loop_stop()

    def notify(self, changes: ChangeSet) -> None:
        """Notify the listeners here at once, the other processes as soon as the broker takes it."""
        if not changes:
            return
        self._spread(changes)
        with self._lock:
            self._waiting.add(changes)
        self._send()

    def _send(self) -> None:
        if not self.listening and time.monotonic() - self._asked_at > ANSWER_SECONDS:
            self._throttle.warn(logger, "deaf", f"{self._settings.broker} does not let us use the topic {self._topic}")
        with self._lock:
            if not self._waiting or not self.listening or self._under_way >= MAX_UNDER_WAY:
                return
            waiting, self._waiting = self._waiting, ChangeSet(origin=self._origin)
            self._under_way += 1
        # Not under the lock: paho calls `_on_publish` while it holds one that `publish` needs.
        self._client.publish(self._topic, msgspec.json.encode(waiting), qos=1)

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
        with self._lock:
            if not self._stop.is_set():
                self._client.loop_start()

    def _on_connect(self, client: paho.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if not reason.is_failure:
            client.subscribe(self._topic, 1)

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        if codes[0].is_failure:
            self._asked_at = -math.inf
            return
        # A broker may grant what it then drops, as Mosquitto does with an access list: hearing ourselves is the proof.
        self._asked_at = time.monotonic()
        self._client.publish(self._topic, msgspec.json.encode(ChangeSet(origin=self._origin)), qos=1)

    def _begin(self) -> None:
        with self._lock:
            self.listening, self._under_way = True, 0
        self._send()
        self._spread(ChangeSet(everything=True))

    def _on_disconnect(self, *_: Any) -> None:
        self._asked_at = math.inf
        with self._lock:
            self.listening = False

    def _on_publish(self, *_: Any) -> None:
        with self._lock:
            self._under_way = max(0, self._under_way - 1)
        self._send()

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        try:
            changes = msgspec.json.decode(message.payload, type=ChangeSet)
        except (ValueError, RecursionError) as error:  # of a text that is not UTF-8 it is no DecodeError
            self._throttle.warn(logger, "foreign", f"Ignored what is no notice on {self._topic}: {error}")
            return
        if changes.origin != self._origin:
            # Whoever may publish here may publish more than the database can look up at once.
            bounded = ChangeSet(origin=changes.origin)
            bounded.add(changes)
            if bounded:
                self._spread(bounded)
        elif not self.listening:
            self._begin()

    def _spread(self, changes: ChangeSet) -> None:
        for listener in self._listeners:
            listener(changes)
