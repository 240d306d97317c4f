"""A server's end of a connection, whose client must read an answer in time and may not leave too much unread."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

SECONDS = 20.0
"""How long a client may take to read an answer."""
RATE = 20_000
"""Bytes that buy one second more, so that a long answer may go over a slow line."""
PIECE = 262_144
MOST_UNREAD = 48
"""Answers at a time that wait for their clients; each holds a thread of the server."""
MOST_BYTES = 128_000_000
"""What those answers may take in memory."""
UNSENT = 131_072
"""Bytes that the kernel takes before the client is ready for them; else it takes megabytes, and calls them sent."""
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
_RESET = struct.pack("ii", 1, 0)


class ReadTooSlowly(ConnectionError):
    """A client did not read an answer in time."""


class Unread:
    """The answers that their clients have not read yet. Of too many, those end that have moved on least lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[AnswerSocket, int] = {}

    @contextlib.contextmanager
    def counted(self, connection: "AnswerSocket", size: int) -> Iterator[None]:
        """Count an answer while it is written."""
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
    """Sends an answer at the pace of its client. Raises ReadTooSlowly."""

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
        """Begin with another answer, whose time runs from when its client first has no room for it."""
        self._deadline: float | None = None
        self.sent_at = 0.0
        """When the client had room for a part of it."""
        self.endless = False

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of it, and wait until the client has room for it."""
        if self.endless:
            super().sendall(data, flags)
            return
        # Most answers go out whole, without what a time limit costs.
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
        """End the connection, and wake the thread that writes to it."""
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
            raise ReadTooSlowly("a client did not read its answer in time") from error
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
        """Have the kernel throw away what the client has not read, once the connection is closed."""
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def endless(connection: object) -> None:
    """Let an answer that goes on for ever take its time, such as live events."""
    if isinstance(connection, AnswerSocket):
        connection.endless = True
