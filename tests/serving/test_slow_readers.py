"""Clients that read their answers slowly: they hold neither threads nor memory for long."""

import contextlib
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import serving.answer_socket
import serving.arrivals
from serving.answer_socket import endless
from tests.live import Sse, post, tracebacks
from tests.live import serving as backend_serving
from tests.served import HEALTHY_SECONDS, Running
from tests.support import GUNICORN, PROJECT, BackendProcess, free_port, wait_for

pytestmark = pytest.mark.long

BODY = b"x" * 8_000_000
SECONDS = 0.6
"""How long a client may take here."""


class Answering:
    """Answers /large and /files with many bytes, /live with as many that it calls endless, and the rest with few."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.ended = 0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        path = environ["PATH_INFO"]
        if path == "/live":
            endless(environ["gunicorn.socket"])
        body = b"few" if path == "/health" else BODY
        start_response("200 OK", [("Content-Length", str(len(body)))])
        try:
            # A file comes in pieces.
            yield from (
                (body[place : place + 8_192] for place in range(0, len(body), 8_192))
                if path == "/files"
                else [body]
            )
        finally:
            self.ended += path != "/health"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(serving.answer_socket, "SECONDS", SECONDS)
    monkeypatch.setattr(serving.answer_socket, "RATE", 1_000_000)
    monkeypatch.setattr(serving.arrivals, "LINGER_SECONDS", 0.3)
    started = Running(Answering(), socket.create_server(("127.0.0.1", 0), backlog=1024))  # type: ignore[arg-type]
    yield started
    started.stop()


def reader(address: tuple[str, int], path: str) -> socket.socket:
    """A client with little room for an answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.settimeout(10)
    client.connect(address)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def trickle(client: socket.socket, seconds: float) -> float:
    """Read a little now and then; after how many seconds the connection has ended."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - began < seconds and client.recv(1_000):
            time.sleep(0.05)  # a slow reader
    return time.monotonic() - began


@pytest.mark.broker
@pytest.mark.parametrize("path", ["/large", "/files"])
def test_an_answer_that_is_read_too_slowly_ends(running: Running, path: str) -> None:
    with reader(running._address, path) as client:
        assert trickle(client, 10) < 5
    wait_for(lambda: running.application.ended == 1)  # type: ignore[attr-defined]


@pytest.mark.broker
def test_an_answer_that_is_not_read_at_all_ends(running: Running) -> None:
    with reader(running._address, "/large"):
        wait_for(lambda: running.application.ended == 1, seconds=5)  # type: ignore[attr-defined]


@pytest.mark.broker
def test_an_answer_that_goes_on_for_ever_may_take_its_time(running: Running) -> None:
    with reader(running._address, "/live") as client:
        assert trickle(client, 3) >= 3


@pytest.mark.broker
@pytest.mark.parametrize("path", ["/large", "/files"])
def test_a_client_that_keeps_up_has_all_of_a_long_answer(
    running: Running, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(serving.answer_socket, "RATE", 4_000_000)
    got = 0
    with reader(running._address, path) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)
        while got < len(BODY):
            data = client.recv(1_000_000)
            assert data
            got += len(data)
            time.sleep(len(data) / 6_000_000)  # a line of so many bytes a second


@pytest.mark.broker
@pytest.mark.parametrize(("name", "value"), [("MOST_UNREAD", 5), ("MOST_BYTES", 5 * len(BODY))])
def test_of_too_many_answers_those_end_of_which_nothing_is_read(
    running: Running, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    monkeypatch.setattr(serving.answer_socket, "SECONDS", 60.0)
    monkeypatch.setattr(serving.answer_socket, name, value)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(reader(running._address, "/large"))
        wait_for(lambda: running.application.ended == 15)  # type: ignore[attr-defined]
        # A client that reads is not among them, however many come after.
        quick = stack.enter_context(running.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"))
        got = 0
        while got < len(BODY):
            data = quick.recv(400_000)
            assert data
            got += len(data)
            stack.enter_context(reader(running._address, "/large"))
            time.sleep(0.02)  # a line of 20 MB a second


# In every mode of serving

THREADS = 150
READERS = THREADS + 20
ROWS, TEXTS = 800, 20
MODES = {
    "python app.py": [
        sys.executable,
        "-c",
        f"import serving.process, app; serving.process.THREADS = {THREADS}; app.main()",
    ],
    "gunicorn": [*GUNICORN, "-w", "1", "--threads", str(THREADS), "app:app"],
}


@pytest.fixture(params=MODES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendProcess]:
    streams = tmp_path / "streams"
    streams.mkdir()
    shutil.copy(PROJECT / "streams" / "sensors.toml", streams)
    metrics = "".join(f'[metrics.t{n}]\ntype = "text"\n' for n in range(TEXTS))
    (streams / "wide.toml").write_text(f'topic = "wide/{{device_id}}"\n{metrics}')
    made = BackendProcess(
        tmp_path, MODES[request.param], MQTT_PORT=str(free_port()), STREAMS_DIR=str(streams)
    )
    with backend_serving(made) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started


def memory(backend: BackendProcess) -> int:
    """Resident bytes of the processes of a backend."""
    assert backend.process is not None
    pids = [backend.process.pid, *_children(backend.process.pid)]
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.split("VmRSS:")[1].split()[0]) * 1024 for text in statuses)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def trickling(port: int, path: str) -> Iterator[None]:
    """Many clients that ask for something and read a little of it now and then."""
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(reader(("127.0.0.1", port), path)) for _ in range(READERS)]

        def read() -> None:
            while not ended.wait(2):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.recv(1_000, socket.MSG_DONTWAIT)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def test_hundreds_of_slow_readers_hold_up_neither_health_nor_live_clients(
    backend: BackendProcess,
) -> None:
    texts = {f"t{n}": "x" * 250 for n in range(TEXTS)}
    for start in range(0, ROWS, 200):
        rows = [{"device_id": "w", **texts, "t0": f"{start + n}"} for n in range(200)]
        assert backend.post("/api/wide/readings", rows)[0] == 201
    before = memory(backend)
    with Sse(backend.port) as live, trickling(backend.port, f"/api/wide/history?limit={ROWS}"):
        wait_for(backend.answers, seconds=60)  # while the answers are made it has much to do
        for number in range(10):
            began = time.monotonic()
            assert backend.answers() is not None
            assert time.monotonic() - began < HEALTHY_SECONDS
            post(backend, "good", number)
        live.await_temperature(9, "good")
        assert (
            memory(backend) - before < 700_000_000
        )  # most of it was taken while the answers were made
    assert not tracebacks(backend)
