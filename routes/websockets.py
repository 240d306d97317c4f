"""WSGI middleware in front of Socket.IO: what one client's connection may cost the others."""

import contextlib
import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException
from wsproto.utilities import ProtocolError

from utils.answer_socket import endless

logger = logging.getLogger(__name__)
PATH = "/socket.io/"
MAX_BODY = 10_000
"""Bytes that a client may send at once; it sends subscriptions only."""
MAX_SESSIONS = 800
"""Each takes some threads."""
UNREAD_SECONDS = 20
"""How long a client may leave unread what is sent to it."""
SEND_BUFFER = 32_768
RECEIVE_BURST, RECEIVE_RATE = 100_000, 1_000
"""Bytes, and bytes a second, that a client may send."""
SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Connection:
    """The TCP connection of one websocket: the part of a socket that simple_websocket uses."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._allowed = float(RECEIVE_BURST)
        self._counted_at = time.monotonic()
        # What waits here is stale by the time it is read; what waits in the hub is not.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def send(self, data: bytes) -> int:
        """Send everything. Raises BrokenPipeError, the one error that simple_websocket expects when it closes."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.shutdown()
            raise BrokenPipeError(errno.EPIPE, "the client is away") from error
        return len(data)

    def recv(self, size: int) -> bytes:
        """Receive; a client that sends more than a browser ever does is cut off, before it fills the memory."""
        data = self._socket.recv(size)
        now = time.monotonic()
        self._allowed = min(
            RECEIVE_BURST, self._allowed + (now - self._counted_at) * RECEIVE_RATE
        ) - len(data)
        self._counted_at = now
        if self._allowed < 0:
            logger.warning("A websocket was closed: its client sends too much")
            self.shutdown()
            return b""
        return data

    def shutdown(self) -> None:
        """End the connection in both directions: no thread waits for it any longer."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As shutdown; the server that accepted the connection closes the socket itself."""
        self.shutdown()


class Connections:
    """All websockets of an application."""

    def __init__(self, wsgi_app: Wsgi, sessions: Callable[[], int]) -> None:
        self._wsgi_app = wsgi_app
        self._sessions = sessions
        self._lock = threading.Lock()
        self._open: set[Connection] = set()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(PATH):
            return self._wsgi_app(environ, start_response)
        limit_unread(environ)
        if (refused := self._refused(environ)) is not None:
            return _refusal(start_response, *refused)
        for key in SOCKET_KEYS:
            if key in environ and environ.get("HTTP_UPGRADE", "").lower() == "websocket":
                return self._websocket(key, environ, start_response)
        try:
            return self._wsgi_app(environ, start_response)
        except KeyError as error:
            # Engine.IO raises it for a POST to a session that has ended and is not forgotten yet.
            if error.args != ("Session is disconnected",):
                raise
            return _refusal(
                start_response, "400 BAD REQUEST", "The session has ended. Connect again"
            )
        except HTTPException as error:
            # A body that did not arrive as a whole (serving/body.py).
            return _refusal(start_response, f"{error.code} {error.name}", str(error.description))

    def _refused(self, environ: dict[str, Any]) -> tuple[str, str] | None:
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            return "400 BAD REQUEST", "Content-Length: expected a number"
        if int(length) > MAX_BODY:
            return "413 CONTENT TOO LARGE", f"The body is too large: at most {MAX_BODY} bytes"
        if "HTTP_TRANSFER_ENCODING" in environ:
            return (
                "411 LENGTH REQUIRED",
                "Content-Length: expected the length of the body, and no chunks",
            )
        if "sid=" not in environ.get("QUERY_STRING", "") and self._sessions() >= MAX_SESSIONS:
            return (
                "503 SERVICE UNAVAILABLE",
                "Too many clients are live in this process. Try again later",
            )
        return None

    def _websocket(
        self, key: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        endless(environ[key])
        connection = environ[key] = Connection(environ[key])
        # Without compression, which takes 130 kB for each client and 140 µs for each event.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        with self._lock:
            self._open.add(connection)
        try:
            return self._wsgi_app(environ, start_response)
        except (StopIteration, OSError, ProtocolError, ValueError, RecursionError) as end:
            # The first two are how Engine.IO says that there is nothing to answer, the others what a client can cause.
            raise ConnectionResetError(errno.ECONNRESET, "the websocket has ended") from end
        finally:
            connection.shutdown()
            with self._lock:
                self._open.discard(connection)

    def close(self) -> None:
        """End every websocket at once, also of clients that do not read."""
        with self._lock:
            ending = list(self._open)
        for connection in ending:
            connection.shutdown()


def _refusal(start_response: Callable[..., Any], status: str, message: str) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Connection", "close")])
    return [json.dumps({"message": message}).encode()]


def stream(environ: Mapping[str, Any]) -> None:
    """Let the answer to a request go on for ever, as long as its client reads."""
    limit_unread(environ)
    for key in SOCKET_KEYS:
        endless(environ.get(key))


def limit_unread(environ: Mapping[str, Any]) -> None:
    """Have the connection of a request end when its client does not read what is sent to it."""
    for key in SOCKET_KEYS:
        if key in environ and hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
            environ[key].setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000
            )
