"""Many connections that never finish a request, in every mode of serving: a good client is answered all the same."""

import contextlib
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Sse, post, serving, tracebacks
from tests.served import HEALTHY_SECONDS
from tests.support import GUNICORN, PROJECT, BackendProcess, free_port, wait_for

MODES = {
    "python app.py": [sys.executable, str(PROJECT / "app.py")],
    "gunicorn": [*GUNICORN, "app:app"],
}
HALF = b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Half: "


@contextlib.contextmanager
def half_open(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections with half a request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 500, hard), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = []
        for _ in range(count):
            clients.append(
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            )
            clients[-1].sendall(HALF)
        yield clients


@pytest.fixture(params=MODES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendProcess]:
    with serving(
        BackendProcess(tmp_path, MODES[request.param], MQTT_PORT=str(free_port()))
    ) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started


def test_half_open_requests_hold_up_neither_health_nor_live_clients(
    backend: BackendProcess,
) -> None:
    with Sse(backend.port) as live, half_open(backend.port, 1_500) as clients:
        for number in range(10):
            began = time.monotonic()
            assert backend.answers() is not None
            assert time.monotonic() - began < HEALTHY_SECONDS
            post(backend, "good", number)
        live.await_temperature(9, "good")
        # The first of them is told that it is too slow; the live client stays.
        clients[0].settimeout(30)
        assert clients[0].recv(100).startswith(b"HTTP/1.1 408 ")
        post(backend, "good", 10)
        live.await_temperature(10, "good")
    assert not tracebacks(backend)


def test_with_few_open_files_the_oldest_make_room(backend: BackendProcess) -> None:
    assert backend.stop() == 0
    backend.command = ["sh", "-c", f"ulimit -n 256; exec {' '.join(backend.command)}"]
    with serving(backend), half_open(backend.port, 600):
        for _ in range(10):
            began = time.monotonic()
            assert backend.answers() is not None
            assert time.monotonic() - began < HEALTHY_SECONDS
    assert not tracebacks(backend)
