"""The broker of a measurement: Mosquitto as shipped if installed, otherwise the embedded one."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import load
from benchmarks.processes import free_port, listens, wait_for
from broker.embedded import EmbeddedBroker
from broker.store import Options, Store
from config import PROJECT

MAX_MB = 1024
CLIENT_ID = "autoforge-bench"
TOPIC = "sensors/+/data"
_SHIPPED = PROJECT / "deploy" / "mosquitto.conf"
_OTHER_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


def mosquitto_binary() -> str | None:
    """Return the path of Mosquitto on this machine, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_OTHER_FOLDERS)


def mosquitto_version() -> str | None:
    """Return the version that Mosquitto prints, or None."""
    binary = mosquitto_binary()
    if binary is None:
        return None
    printed = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False).stdout
    return printed.partition("\n")[0].removeprefix("mosquitto version ").strip()


class ShippedMosquitto:
    """A Mosquitto with the shipped configuration, on its own port and in its own folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        self._changes = {
            "persistence_location": f"{folder}/",
            "listener 1883": f"{self.port} 127.0.0.1",
            "listener 1884": f"{free_port()} 127.0.0.1",
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Run Mosquitto; yield its port."""
        config = self._folder / "mosquitto.conf"
        config.write_text(_changed(_SHIPPED.read_text(), self._changes))
        command = [str(mosquitto_binary()), "-c", str(config)]
        with (self._folder / "mosquitto.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(lambda: listens(self.port), "Mosquitto")
            yield self.port
        finally:
            process.terminate()
            process.wait(60)


def _changed(text: str, changes: Mapping[str, str]) -> str:
    lines = []
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        key = f"{name} {value.partition(' ')[0]}" if name == "listener" else name
        lines.append(f"{name} {changes[key]}" if key in changes else line)
    if os.geteuid() == 0:
        lines.append("user root")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def fitting(folder: Path) -> Iterator[int]:
    """Run Mosquitto as shipped, or the embedded broker if it is not installed; yield the port."""
    if mosquitto_binary() is None:
        with embedded(folder) as port:
            yield port
    else:
        with ShippedMosquitto(folder).running() as port:
            yield port


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[int]:
    """Run an embedded broker without logins and with its store in `folder`; yield its port."""
    store = Store(folder / "embedded.broker")
    broker = EmbeddedBroker(Options("127.0.0.1", free_port(), MAX_MB), store)
    broker.start()
    try:
        store.admit()
        wait_for(lambda: lets_in(broker.port), "the embedded broker")
        yield broker.port
    finally:
        broker.stop()


def lets_in(port: int) -> bool:
    """Return whether a broker accepts a device without a login."""
    try:
        load.connect(port).close()
    except ConnectionError:
        return False
    return True


def register_session(port: int) -> None:
    """Create a persistent session with the subscription at the broker. Raises TimeoutError."""
    subscribed = threading.Event()

    def on_connect(*_: object) -> None:
        client.subscribe(TOPIC, 1)

    client = _client()
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not subscribed.wait(30):
        raise TimeoutError("the broker did not answer SUBSCRIBE")
    client.disconnect()
    client.loop_stop()


def messages_left(port: int, seconds: float = 0.5) -> int:
    """Return how many messages the session still receives within `seconds`; 0 after a clean run.

    None of them is acknowledged.
    """
    mids: list[int] = []
    client = _client(manual_ack=True)
    # Not the marker of the new session, which may come after the last batch.
    client.message_callback_add(TOPIC, lambda _, __, message: mids.append(message.mid))
    client.connect("127.0.0.1", port)
    client.loop_start()
    threading.Event().wait(seconds)
    client.disconnect()
    client.loop_stop()
    return len(mids)


def _client(manual_ack: bool = False) -> paho.Client:
    return paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=CLIENT_ID,
        clean_session=False,
        manual_ack=manual_ack,
    )
