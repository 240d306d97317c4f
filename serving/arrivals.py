"""The connections without a thread: reads requests as they arrive, and ends the slow and silent."""

import contextlib
import logging
import selectors
import time
from collections.abc import Callable, Iterator

from serving.body import TOO_SLOW
from serving.connection import HttpConnection, State
from serving.framing import Arrived, missing
from serving.refusal import refusal
from utils.logger import Throttle

logger = logging.getLogger(__name__)
MAX_STREAMED = 8
"""Requests at a time whose body a thread reads, because it is long or of unknown length."""
LOOK_SECONDS = 0.1
"""Between two searches for expired connections; with many, each search takes a while."""
LINGER_SECONDS = 2.0
"""How long the client has to read the last answer before a connection is closed."""


class Arrivals:
    """Reads connections until a whole request is there, then hands the connection over.

    Only the main thread uses it. Iterating gives the waiting ones, silent longest first.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        hand_over: Callable[[HttpConnection], None],
        ended: Callable[[], None],
        throttle: Throttle,
    ) -> None:
        self._poller = poller
        self._on_request = hand_over
        self._on_end = ended
        self._throttle = throttle
        self._parked: dict[HttpConnection, None] = {}
        self._streamed = 0
        """How many requests a thread reads now."""
        self._look_again = 0.0

    def __iter__(self) -> Iterator[HttpConnection]:
        return iter(self._parked)

    def receive(self, connection: HttpConnection) -> None:
        """Take what has come, and hand the request over when it is there."""
        try:
            open_still = connection.receive()
        except OSError:
            self.end(connection)
            return
        if connection.state is State.ENDING:
            if not open_still:
                self.end(connection)
        elif not open_still and connection.buffer:
            self.refuse(connection, 400, f"The request broke off: {missing(connection.buffer)}")
        elif not open_still:
            self.end(connection)
        else:
            self._hand_over(connection)

    def wait_for_next(self, connection: HttpConnection, seconds: float | None) -> None:
        """Wait so long for another request; None if the server is stopping."""
        self._streamed -= connection.streamed
        connection.next_request(LINGER_SECONDS if seconds is None else seconds)
        if connection.buffer:
            self._hand_over(connection)
        else:
            self._park(connection)

    def refuse(self, connection: HttpConnection, status: int, message: str) -> None:
        """Answer with an error, and end the connection."""
        with contextlib.suppress(OSError):
            connection.sock.send(refusal(status, message))
        self.lingering_close(connection)

    def lingering_close(self, connection: HttpConnection) -> None:
        """End a connection so that the client can read the answer, which a reset would discard."""
        self._unpark(connection)
        self._streamed -= connection.streamed
        try:
            connection.end(LINGER_SECONDS)
            self._park(connection)
        except OSError:
            self.end(connection)

    def end(self, connection: HttpConnection) -> None:
        """Close a connection."""
        self._unpark(connection)
        self._on_end()
        connection.close()

    def make_room(self) -> bool:
        """Close the connection that has been silent longest; whether there was one."""
        silent = (parked for parked in self._parked if parked.state is not State.RECEIVING)
        oldest = next(silent, None) or next(iter(self._parked), None)
        if oldest is None:
            return False
        crowded = "Too many connections: silent ones make room"
        self._throttle.warn(logger, "room", crowded)
        self.end(oldest)
        return True

    def end_expired(self) -> None:
        """End the connections that have been waited for long enough."""
        now = time.monotonic()
        if now < self._look_again:
            return
        self._look_again = now + LOOK_SECONDS
        for connection in [parked for parked in self._parked if parked.expired()]:
            if connection.state is State.RECEIVING and connection.buffer:
                self.refuse(connection, 408, TOO_SLOW)
            else:
                self.end(connection)

    def hurry(self) -> None:
        """Wait only a short time more for each connection."""
        for connection in self._parked:
            connection.hurry(LINGER_SECONDS)

    def end_all(self) -> None:
        """Close all connections."""
        for connection in list(self._parked):
            self.end(connection)

    def _hand_over(self, connection: HttpConnection) -> None:
        came = connection.arrived()
        if came is Arrived.PART:
            self._park(connection)
        elif came is Arrived.STREAM and self._streamed >= MAX_STREAMED:
            busy = f"More than {MAX_STREAMED} long requests are arriving. Try again later"
            self.refuse(connection, 503, busy)
        else:
            self._unpark(connection)
            connection.begin(streamed=came is Arrived.STREAM)
            self._streamed += connection.streamed
            self._on_request(connection)

    def _park(self, connection: HttpConnection) -> None:
        """Wait for the client without a thread."""
        if connection not in self._parked:
            self._parked[connection] = None
            self._poller.register(
                connection.sock,
                selectors.EVENT_READ,
                lambda _: self._readable(connection),
            )

    def _unpark(self, connection: HttpConnection) -> None:
        if connection in self._parked:
            del self._parked[connection]
            self._poller.unregister(connection.sock)

    def _readable(self, connection: HttpConnection) -> None:
        # Another one that was ready in the same turn may have taken its room.
        if connection in self._parked:
            self.receive(connection)
