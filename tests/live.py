"""Live clients for the tests: Server-Sent Events as curl reads them, and the Socket.IO client of Python."""

import contextlib
import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import socketio

from tests.brokers import RealBroker
from tests.support import BackendProcess, payload, wait_for
from utils.json_types import JsonObject


class Got(NamedTuple):
    """One event; `id` is that of the Server-Sent Event."""

    name: str
    data: JsonObject
    id: str | None = None


class Inbox:
    """What one client has received, in its order."""

    def __init__(self) -> None:
        self.events: list[Got] = []

    def of(self, name: str, device_id: str | None = None) -> list[JsonObject]:
        """The data of the events with a name, of one device or of all; of readings only what was read."""
        data = [got.data.get("data", got.data) for got in list(self.events) if got.name == name]
        return [item for item in data if device_id is None or item["device_id"] == device_id]

    def temperatures(self, device_id: str | None = None) -> list[float]:
        """Of all readings, or those of one device."""
        return [item["temperature"] for item in self.of("reading", device_id)]

    def temperatures_once(self) -> list[float]:
        """The same without repetitions: what comes while a client asks for what it missed may come twice."""
        return list(dict.fromkeys(self.temperatures()))

    def await_temperature(
        self, value: float, device_id: str | None = None, seconds: float = 10
    ) -> None:
        """Wait until the last reading has this temperature."""
        wait_for(
            lambda: self.temperatures(device_id)[-1:] == [value],
            seconds,
            f"the temperature {value}",
        )

    def await_arrival(self, value: float) -> None:
        """Wait until a reading with this temperature has come; an earlier one may come again after it."""
        wait_for(lambda: value in self.temperatures(), what=f"a reading of {value}")

    def await_status(self, status: str) -> None:
        """Wait until the last command event has this status."""
        wait_for(
            lambda: [item["status"] for item in self.of("command")][-1:] == [status],
            10,
            f"a command {status}",
        )

    def await_count(self, name: str, count: int, device_id: str | None = None) -> list[JsonObject]:
        """Wait for so many events with a name."""
        wait_for(lambda: len(self.of(name, device_id)) >= count, what=f"{count} of {name}")
        return self.of(name, device_id)


class Sse(Inbox):
    """A client of `/api/<stream>/live`, which reads in a thread; `ended` is set when the server has ended."""

    def __init__(self, port: int, query: str = "", stream: str = "sensors", **headers: str) -> None:
        super().__init__()
        self.comments = 0
        self.ended = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        path = f"/api/{stream}/live{'?' if query else ''}{query}"
        self._connection.request(
            "GET", path, headers={key.replace("_", "-"): headers[key] for key in headers}
        )
        self._socket = self._connection.sock  # which the connection forgets with the answer
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        # The first line says that the client has joined: what is committed from now on reaches it.
        self.first_line = self.answer.readline().decode()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.answer.close()
        self._connection.close()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while line := self.answer.readline().decode():
                if line.startswith(":"):
                    self.comments += 1
                elif line != "\n":
                    key, _, value = line.rstrip("\n").partition(": ")
                    fields[key] = value
                else:
                    if "data" in fields:
                        self.events.append(
                            Got(fields["event"], json.loads(fields["data"]), fields.get("id"))
                        )
                    fields = {}
        self.ended.set()


def _one_after_the_other(client: socketio.Client) -> None:
    """The client gives every message a thread of its own, which may overtake each other."""
    start = client.eio.start_background_task

    def run(target: Any, *arguments: Any, **named: Any) -> Any:
        here = target == client.eio.handlers["message"]
        return target(*arguments) if here else start(target, *arguments, **named)

    client.eio.start_background_task = run


class Io(Inbox):
    """A python-socketio client; it reconnects by itself if told so, and then does what `on_connect` says."""

    def __init__(
        self,
        port: int,
        *transports: str,
        listens: Iterable[str] = ("reading", "command", "presence", "error"),
        reconnection: bool = False,
        **headers: str,
    ) -> None:
        super().__init__()
        self.client = socketio.Client(
            reconnection=reconnection, reconnection_delay=0.2, reconnection_delay_max=0.5
        )
        _one_after_the_other(self.client)
        for name in listens:
            self.client.on(name, lambda data, name=name: self.events.append(Got(name, data)))
        url = f"http://127.0.0.1:{port}"
        self.client.connect(
            url, headers=headers, transports=list(transports) or None, wait_timeout=10
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.client.disconnect()

    def subscribe(self, *arguments: Any, **keys: Any) -> Any:
        """The answer to `subscribe`."""
        return self.client.call("subscribe", *(arguments or [keys]), timeout=10)

    def unsubscribe(self, **keys: Any) -> Any:
        """The answer to `unsubscribe`."""
        return self.client.call("unsubscribe", keys, timeout=10)

    @property
    def transport(self) -> str:
        name: str = self.client.transport()
        return name


@contextlib.contextmanager
def serving(backend: BackendProcess, wait: bool = True) -> Iterator[BackendProcess]:
    """Start a backend, and end it, whatever happens, with everything that it has started."""
    try:
        backend.start(wait)
        yield backend
    finally:
        end(backend)


def end(backend: BackendProcess) -> None:
    """End a backend that may have ended."""
    process = backend.process
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()


def at_broker(folder: Path, broker: RealBroker, **environment: str) -> BackendProcess:
    """`python app.py` at a broker that runs."""
    folder.mkdir(exist_ok=True)
    place = {name.upper(): str(value) for name, value in broker.settings.items()}
    return BackendProcess(folder, None, **{**place, **environment})


def post(backend: BackendProcess, device_id: str, temperature: float, **more: Any) -> None:
    """Store a reading over HTTP."""
    said = json.loads(payload(device_id=device_id, temperature=temperature, **more))
    status, answer = backend.post("/api/sensors/readings", said)
    assert (status, answer["stored"]) == (201, 1), answer


def tracebacks(backend: BackendProcess) -> str:
    """The console and the logs, if they tell of an exception; otherwise nothing."""
    text = backend.console.read_text() + "".join(
        file.read_text() for file in backend.folder.glob("autoforge*.log")
    )
    return text if "Traceback" in text or "Exception" in text else ""
