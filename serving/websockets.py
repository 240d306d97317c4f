"""WSGI middleware before Socket.IO that limits what one connection may cost the others."""

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

from serving.answer_socket import endless

logger = logging.getLogger(__name__)
PATH = "/socket.io/"
MAX_BODY = 10_000
"""Bytes per request of a client, which sends only subscriptions."""
MAX_SESSIONS = 800
"""Each session takes some threads."""
UNREAD_SECONDS = 20
"""How long a client may leave sent data unread."""
SEND_BUFFER = 32_768
RECEIVE_BURST, RECEIVE_RATE = 100_000, 1_000
"""Bytes, and bytes per second, that a client may send."""
SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WebsocketConnection:
    """The TCP connection of a websocket: the part of a socket that simple_websocket uses."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._allowed = float(RECEIVE_BURST)
        self._counted_at = time.monotonic()
        # Data buffered here becomes stale; events waiting in the hub do not.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def send(self, data: bytes) -> int:
        """Send all data. Raises BrokenPipeError, which is all that simple_websocket handles."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.shutdown()
            raise BrokenPipeError(errno.EPIPE, "the client has disconnected") from error
        return len(data)

    def recv(self, size: int) -> bytes:
        """Receive data; disconnect a client that sends far more than a browser would."""
        data = self._socket.recv(size)
        now = time.monotonic()
        self._allowed = min(
            RECEIVE_BURST, self._allowed + (now - self._counted_at) * RECEIVE_RATE
        ) - len(data)
        self._counted_at = now
        if self._allowed < 0:
            logger.warning("Closing a websocket: its client sends too much")
            self.shutdown()
            return b""
        return data

    def shutdown(self) -> None:
        """Close the connection in both directions, which wakes the threads that wait for it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Shut down; the server that accepted the connection closes the socket itself."""
        self.shutdown()


class Connections:
    """The middleware, with all websockets of an application."""

    def __init__(self, wsgi_app: Wsgi, sessions: Callable[[], int]) -> None:
        self._wsgi_app = wsgi_app
        self._sessions = sessions
        self._lock = threading.Lock()
        self._open: set[WebsocketConnection] = set()

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
            # Engine.IO raises it for a POST to a session that has just ended.
            if error.args != ("Session is disconnected",):
                raise
            return _refusal(
                start_response, "400 BAD REQUEST", "The session has ended. Connect again"
            )
        except HTTPException as error:
            # An incomplete body (serving/body.py).
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
                "Content-Length: expected the length of the body, not chunks",
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
        connection = environ[key] = WebsocketConnection(environ[key])
        # No compression: it takes 130 kB per client and 140 µs per event.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        with self._lock:
            self._open.add(connection)
        try:
            return self._wsgi_app(environ, start_response)
        except (StopIteration, OSError, ProtocolError, ValueError, RecursionError) as end:
            # Engine.IO raises the first two when there is no answer; a client can cause the others.
            raise ConnectionResetError(errno.ECONNRESET, "the websocket has ended") from end
        finally:
            connection.shutdown()
            with self._lock:
                self._open.discard(connection)

    def close(self) -> None:
        """Close every websocket at once, even if its client does not read."""
        with self._lock:
            ending = list(self._open)
        for connection in ending:
            connection.shutdown()


def _refusal(start_response: Callable[..., Any], status: str, message: str) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Connection", "close")])
    return [json.dumps({"message": message}).encode()]


def stream(environ: Mapping[str, Any]) -> None:
    """Let a response last as long as its client reads it."""
    limit_unread(environ)
    for key in SOCKET_KEYS:
        endless(environ.get(key))


def limit_unread(environ: Mapping[str, Any]) -> None:
    """Make a connection end if its client does not read what is sent."""
    for key in SOCKET_KEYS:
        if key in environ and hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
            environ[key].setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000
            )
