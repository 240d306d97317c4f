"""One client's connection, between its requests and while one arrives."""

import contextlib
import socket
import time
from enum import Enum
from typing import Any

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from serving.answer_socket import AnswerSocket
from serving.body import ReceiveDeadline, TimedUnreader
from serving.framing import MAX_WAITING, Arrived, arrived

UNREAD_SECONDS = 20
"""How long a client may leave unread what is sent to it."""


class State(Enum):
    """What a connection waits for."""

    RECEIVING = 1
    """The first request, or the rest of one."""
    IDLE = 2
    """Another request."""
    ENDING = 3
    """The client's end of the connection."""


class HttpConnection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection that is read without a thread until a request is there."""

    def __init__(self, cfg: Any, sock: AnswerSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.state = State.RECEIVING
        self.buffer = bytearray()
        self.streamed = False
        """Whether a thread reads the rest of the request."""
        self.unreader = TimedUnreader(sock)
        self.parser = RequestParser(cfg, sock, client)
        self.parser.unreader = self.unreader
        self._end = 0.0
        if sock.family in (socket.AF_INET, socket.AF_INET6):  # gunicorn may also listen at a path
            # The head of an answer and its body are sent one after the other.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)

    def receive(self) -> bool:
        """Take what has come; False at the end of it. Raises OSError."""
        try:
            data = self.sock.recv(MAX_WAITING)
        except BlockingIOError:
            return True
        if self.state is State.ENDING:
            return bool(data)
        if self.state is State.IDLE:
            self.state, self.unreader.deadline = State.RECEIVING, ReceiveDeadline()
        self.unreader.deadline.count(len(data))
        self.buffer += data
        return bool(data)

    def arrived(self) -> Arrived:
        """What is there of the request."""
        return arrived(self.buffer)

    def begin(self, *, streamed: bool) -> None:
        """Leave the connection, and what was read of it, to the parser."""
        self.streamed = streamed
        self.unreader.unread(bytes(self.buffer))
        self.buffer.clear()
        self.sock.expect_answer()
        self.sock.settimeout(None)

    def next_request(self, seconds: float) -> None:
        """Wait so long for another request; what has come of it already is in the buffer."""
        self.sock.settimeout(0)
        self.streamed = False
        self.buffer += self.unreader.take_buffered()
        self.unreader.deadline = ReceiveDeadline()
        self.state = State.RECEIVING if self.buffer else State.IDLE
        self._end = time.monotonic() + seconds

    def end(self, seconds: float) -> None:
        """Send nothing more, and wait so long for the client to end too. Raises OSError."""
        self.sock.settimeout(0)
        self.sock.shutdown(socket.SHUT_WR)
        self.state, self.streamed = State.ENDING, False
        self.buffer.clear()
        self._end = time.monotonic() + seconds

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for anything."""
        latest = time.monotonic() + seconds
        self._end = min(self._end or latest, latest)
        self.state = State.ENDING if self.state is State.ENDING else State.IDLE

    def expired(self) -> bool:
        """Whether it has been waited for long enough."""
        if self.state is State.RECEIVING:
            return self.unreader.deadline.left() <= 0
        return time.monotonic() >= self._end

    def send_answer(self, answer: bytes) -> None:
        """Send an answer that is not the application's, if the client still reads."""
        with contextlib.suppress(OSError):
            self.sock.sendall(answer)
