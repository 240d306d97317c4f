"""Limit how long, and with how much unread data, a client may take to read a response."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

SECONDS = 20.0
"""How long a client may take to read a response."""
RATE = 20_000
"""Bytes that add one second, so that a long response can use a slow connection."""
PIECE = 262_144
MOST_UNREAD = 48
"""Responses waiting for their clients at a time; each holds a thread of the server."""
MOST_BYTES = 128_000_000
"""Memory of those responses."""
UNSENT = 131_072
"""Bytes that the kernel accepts ahead of the client; by default it would accept megabytes."""
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
_RESET = struct.pack("ii", 1, 0)


class ReadTooSlowly(ConnectionError):
    """A client did not read a response in time."""


class Unread:
    """The responses not yet read by their clients; if too many, the most stalled are aborted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[AnswerSocket, int] = {}

    @contextlib.contextmanager
    def counted(self, connection: "AnswerSocket", size: int) -> Iterator[None]:
        """Count a response while it is written."""
        with self._lock:
            self._sizes[connection] = size
            while self._too_many():
                stuck = min(self._sizes, key=lambda waiting: waiting.sent_at)
                del self._sizes[stuck]
                stuck.abort()
        try:
            yield
        finally:
            with self._lock:
                self._sizes.pop(connection, None)

    def _too_many(self) -> bool:
        count = len(self._sizes)
        return count > MOST_UNREAD or (count > 1 and sum(self._sizes.values()) > MOST_BYTES)


class AnswerSocket(socket.socket):
    """Sends a response at the pace of its client. Raises ReadTooSlowly."""

    def __init__(self, accepted: socket.socket, unread: Unread) -> None:
        kind = accepted.family, accepted.type, accepted.proto
        super().__init__(*kind, fileno=accepted.detach())
        self._unread = unread
        self.expect_answer()
        if self.family in (socket.AF_INET, socket.AF_INET6) and hasattr(
            socket, "TCP_NOTSENT_LOWAT"
        ):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    def expect_answer(self) -> None:
        """Start another response; its time runs from when the client first has no room for it."""
        self._deadline: float | None = None
        self.sent_at = 0.0
        """When the client last accepted a part."""
        self.endless = False

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all data, waiting until the client accepts it."""
        if self.endless:
            super().sendall(data, flags)
            return
        # Most responses are sent at once, without the cost of a time limit.
        sent = self._send_at_once(data, flags)
        if self._deadline is not None:
            self._deadline += sent / RATE
        if sent < len(data):
            self.sent_at = time.monotonic()
            if self._deadline is None:
                self._deadline = self.sent_at + SECONDS
            with self._unread.counted(self, len(data)):
                self._send_in_time(memoryview(data)[sent:], flags)

    def abort(self) -> None:
        """Close the connection and wake the thread that writes to it."""
        self._forget_unsent()
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def _send_at_once(self, data: Any, flags: int) -> int:
        try:
            return self.send(data, flags | _AT_ONCE)
        except BlockingIOError:
            return 0

    def _send_in_time(self, rest: memoryview, flags: int) -> None:
        try:
            while rest:
                self.settimeout(self._left())
                rest = rest[self._count(self.send(rest[:PIECE], flags)) :]
        except TimeoutError as error:
            self._forget_unsent()
            raise ReadTooSlowly("a client did not read its response in time") from error
        finally:
            self.settimeout(None)

    def _left(self) -> float:
        left = (self._deadline or 0.0) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _count(self, sent: int) -> int:
        self.sent_at = time.monotonic()
        self._deadline = (self._deadline or self.sent_at) + sent / RATE
        return sent

    def _forget_unsent(self) -> None:
        """Make the kernel discard unread data when the connection is closed."""
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def endless(connection: object) -> None:
    """Lift the time limit for an endless response, such as live events."""
    if isinstance(connection, AnswerSocket):
        connection.endless = True
