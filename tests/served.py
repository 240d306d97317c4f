"""A server in a thread of the test, and clients of it."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import HTTPException

from serving.process import Server

HEALTHY_SECONDS = 3.0
"""The time within which a good client must have its answer; on an idle machine it takes 0.1 s."""


class Application:
    """Answers with what it has read of the body; holds requests to /held until told to let them go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.running = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.running += 1
        if environ["PATH_INFO"] == "/held":
            self.release.wait(20)
        try:
            body = environ["wsgi.input"].read()
        except HTTPException as error:
            body = json.dumps({"message": error.description}).encode()
            start_response(f"{error.code} {error.name}", [("Content-Length", str(len(body)))])
            return [body]
        finally:
            self.running -= 1
        if environ["PATH_INFO"].endswith("/environ"):
            body = json.dumps(
                [environ[key] for key in ("SCRIPT_NAME", "PATH_INFO", "wsgi.url_scheme")]
            ).encode()
        start_response("200 OK", [("Content-Length", str(len(body) + 4))])
        return [b"read", body]


class Served(Server):
    """The server in a thread of the test, where it cannot have signals."""

    def init_signals(self) -> None:
        self.started = threading.Event()


class Running:
    """A server that runs, and clients of it."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        self.application = application
        self._family, self._address = listener.family, listener.getsockname()
        self.server = Served(application, listener, lambda: None)
        self.thread = threading.Thread(target=self.server.init_process)
        self.thread.start()

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.socket(self._family)
        client.settimeout(10)
        client.connect(self._address)
        client.sendall(data)
        return client

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request; the client ends its half."""
        with self.connect(data) as client:
            client.shutdown(socket.SHUT_WR)
            return answer(client)

    def stop(self) -> None:
        self.application.release.set()
        self.server.alive = False
        self.thread.join(15)
        assert not self.thread.is_alive()


def answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer; 0 where the connection has ended without one."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in data and (more := client.recv(65_536)):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += client.recv(65_536)
    return (int(head.split()[1]), body) if head else (0, b"")
