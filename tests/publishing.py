"""The static publisher for the tests: as a program, or as a service in this process, with a subscriber that hears it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from config import Settings
from publisher.service import PublisherService
from tests.documents import PAGES, fenced
from tests.support import PROJECT, Mosquitto, wait_for
from utils.json_types import JsonObject

NEVER = 1000.0
"""An interval that does not end in a test."""
DOCUMENTED = fenced(PAGES["docs/static-publisher.md"], "json")[0]
"""The file that the guide shows."""
Entries = Iterable[JsonObject] | bytes


def entry(name: str, topic: str = "", **changes: Any) -> JsonObject:
    """A valid entry, by default on the topic `t/<name>` ten times a second."""
    plain = {"id": name, "topic": topic or f"t/{name}", "data": {"of": name}, "interval": 0.1}
    return plain | changes


def statistics_of(file: Path) -> Path:
    """Where the statistics of a publisher's file are saved."""
    return Path(f"{file}.statistics")


def write(file: Path, entries: Entries) -> None:
    """Replace a publisher's file."""
    new = file.with_suffix(".new")
    new.write_bytes(entries if isinstance(entries, bytes) else json.dumps(list(entries)).encode())
    new.replace(file)


class Arrival(NamedTuple):
    """A message, the QoS and the retain flag of its publish, and its time (time.monotonic())."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    time: float

    @property
    def document(self) -> Any:
        """The payload as JSON; None if it is empty."""
        return json.loads(self.payload or b"null")

    @property
    def offline(self) -> bool:
        return bool(self.payload) and self.document.get("online") == 0


def numbers(arrivals: list[Arrival], interval: float) -> list[int]:
    """Which of its due times each message came at; the first message came at number 0."""
    return [round((arrival.time - arrivals[0].time) / interval) for arrival in arrivals]


def off_grid(arrivals: list[Arrival], interval: float) -> float:
    """How many seconds the median message is from its due time, if the first one came at its own."""
    times = [arrivals[0].time + step * interval for step in numbers(arrivals, interval)]
    off = [abs(came.time - time) for came, time in zip(arrivals, times, strict=True)]
    return sorted(off)[len(off) // 2]


class RecordingSubscriber:
    """Receives all messages on a topic; after a lost connection also those that it missed."""

    def __init__(
        self, port: int, topic: str = "#", login: tuple[str | None, ...] = (None,)
    ) -> None:
        self.arrivals: list[Arrival] = []
        self.subscribed = threading.Event()
        self._topic = topic
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"auto-{uuid.uuid4().hex}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self._client.username_pw_set(*login)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]  # paho takes fractions
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives it no types
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self.subscribed.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, topic: str, since: float = 0.0) -> list[Arrival]:
        """What came on a topic, in its order; on any topic for `#`."""
        later = [found for found in list(self.arrivals) if found.time >= since]
        return [found for found in later if topic in (found.topic, "#")]

    def documents(self, topic: str, since: float = 0.0) -> list[Any]:
        """The same as JSON."""
        return [found.document for found in self.of(topic, since)]

    def of_schedule(self, topic: str = "#", since: float = 0.0) -> list[Arrival]:
        """The same without last wills."""
        return [found for found in self.of(topic, since) if not found.offline]

    def none_left_out(self, topic: str, interval: float) -> bool:
        """Whether one message came on a topic at each of its due times."""
        came = self.of(topic)
        return numbers(came, interval) == list(range(len(came)))

    def wait(self, topic: str, count: int = 1, since: float = 0.0) -> list[Arrival]:
        """Wait until so many messages came on a topic since a time."""
        wait_for(lambda: len(self.of(topic, since)) >= count, 10, f"{count} messages on {topic}")
        return self.of(topic, since)

    def wait_more(self, topic: str, count: int = 1) -> list[Arrival]:
        """Wait until so many more messages came on a topic; only these."""
        before = len(self.of(topic))
        return self.wait(topic, before + count)[before:]

    def wait_said(self, topic: str, document: Any, since: float = 0.0) -> Arrival:
        """Wait for a message with exactly this document; the first one."""

        def said() -> list[Arrival]:
            return [found for found in self.of(topic, since) if found.document == document]

        return wait_for(said, 10, f"{document} on {topic}")[0]

    def _on_connect(self, client: paho.Client, _data: Any, flags: Any, *_: Any) -> None:
        if flags.session_present:
            self.subscribed.set()
        else:
            client.subscribe(self._topic, options=SubscribeOptions(qos=2, retainAsPublished=True))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        how = message.qos, bool(message.retain), time.monotonic()
        self.arrivals.append(Arrival(message.topic, bytes(message.payload), *how))


class Observed:
    """A publisher of a file, and what its status says."""

    path: Path

    def write(self, entries: Entries) -> None:
        """Replace the file."""
        write(self.path, entries)

    def status(self) -> JsonObject:
        """The status; empty while there is none."""
        raise NotImplementedError

    def wait_status(self, holds: Callable[[JsonObject], Any]) -> JsonObject:
        """Wait until the status fulfils a condition."""
        return wait_for(lambda: (told := self.status()) and holds(told) and told, 30)

    def wait_connected(self) -> JsonObject:
        """Wait until all connections are open."""
        return self.wait_status(lambda status: status["connected"])

    def published(self) -> int:
        """How many messages were published, according to the status."""
        return int(self.status()["statistics"]["total_published"])

    def counts(self, name: str) -> JsonObject:
        """The counts of an entry."""
        found: JsonObject = next(entry for entry in self.status()["configs"] if entry["id"] == name)
        return found


class Service(PublisherService, Observed):
    """The service, in this process."""

    def status(self) -> JsonObject:
        """The status; it is always current."""
        return dict(self.get_status())

    def stop_seconds(self) -> float:
        """Stop it; return how long that took."""
        began = time.monotonic()
        self.stop()
        return time.monotonic() - began

    def reload(self, entries: Entries) -> None:
        """Replace the file, and read it at once."""
        self.write(entries)
        assert self.reload_config()


@dataclass
class PublisherSite:
    """A broker, a subscriber to everything, and services of one file."""

    settings: Callable[..., Settings]
    broker: Mosquitto
    heard: RecordingSubscriber
    file: Path
    services: list[Service] = field(default_factory=list)

    def service(self, entries: Entries = (), port: int = 0, **values: str) -> Service:
        """Make a service; with entries, write them into the file and start it."""
        place = {"mqtt_broker": "127.0.0.1", "mqtt_port": port or self.broker.port}
        made = Service(self.settings(**place | values), self.file)
        self.services.append(made)
        if entries:
            made.write(entries)
            made.start()
        return made


class Program(Observed):
    """`python -m publisher` with a file of its own, for a `with` block; it must never show a traceback."""

    def __init__(
        self, folder: Path, port: int, entries: Entries, *options: str, **more: str
    ) -> None:
        self._folder = folder
        self.path = folder / "entries.json"
        self.console = folder / "console.txt"
        self.write(entries)
        self.command = [sys.executable, "-m", "publisher", "--broker", "127.0.0.1", *options]
        self.command += ["--port", str(port), "--config", str(self.path)]
        names = os.environ.keys() & {"PATH", "HOME", "LANG", "TMPDIR"}
        kept = {name: os.environ[name] for name in names}
        self._environment = kept | {"PYTHONPATH": str(PROJECT)} | more

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGCONT)
        try:
            self.stop()
        finally:
            self._process.kill()
        assert "Traceback" not in self.told(), self.told()

    def start(self) -> Self:
        """Start it, and return when it publishes its file or has ended."""
        before = len(self.lines("Publishing "))
        with self.console.open("ab") as told:
            self._process = subprocess.Popen(
                self.command, cwd=self._folder, env=self._environment, stdout=told, stderr=told
            )

        def started() -> bool:
            return len(self.lines("Publishing ")) > before or self.ended is not None

        wait_for(started, what=f"it; see {self.console}")
        return self

    @property
    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> float:
        """Send a signal; return when."""
        moment = time.monotonic()
        self._process.send_signal(number)
        return moment

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; return the exit code."""
        self.send(number)
        return self._process.wait(10)

    def stop_seconds(self, number: int = signal.SIGTERM) -> float:
        """End it with a signal, which must be exit code 0; return how long that took."""
        sent = time.monotonic()
        assert self.stop(number) == 0, self.told()
        return time.monotonic() - sent

    def run(self, *options: str, **more: str) -> tuple[int, str]:
        """Run another process, with more options, until it ends; return its exit code and output."""
        command, environment = [*self.command, *options], self._environment | more
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, timeout=20, check=False
        )
        shown = (done.stdout + done.stderr).decode()
        assert "Traceback" not in shown, shown
        return done.returncode, shown

    def reload(self, entries: Entries) -> None:
        """Replace the file, and have it read at once."""
        self.write(entries)
        self.send(signal.SIGHUP)

    def wait_line(self, part: str) -> None:
        """Wait until a line of the console contains this."""
        wait_for(lambda: self.lines(part), what=f"a line with {part}")

    def told(self) -> str:
        """What the console shows."""
        return self.console.read_text() if self.console.exists() else ""

    def lines(self, part: str) -> list[str]:
        """The lines of the console that contain this."""
        return [line for line in self.told().splitlines() if part in line]

    def status(self) -> JsonObject:
        """The status in its file, which it saves every five seconds."""
        file = statistics_of(self.path)
        found: JsonObject = json.loads(file.read_bytes()) if file.exists() else {}
        return found


Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
Run = Callable[..., AbstractContextManager[tuple[RecordingSubscriber, Program]]]


@contextlib.contextmanager
def hanging(server: Mosquitto) -> Iterator[None]:
    """Have a broker do nothing for a while, as if it were overloaded."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)
