"""Drive many MQTT connections in one thread, with one selector and a queue of timed calls."""

import heapq
import itertools
import os
import selectors
import time
import weakref
from collections import deque
from collections.abc import Callable

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """Waits for sockets and for times. Nothing happens between the turns."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._finalizer = weakref.finalize(self, _close, self._wake_reader, self._wake_writer)
        self.watch(self._wake_reader, self._call_soon)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call once, in the next turn; any thread may request it."""
        self._soon.append(call)
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            return  # the pipe is full, so the loop is awake anyway

    def call_in(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once after a delay, at the earliest in the next turn."""
        heapq.heappush(self._calls, (time.monotonic() + seconds, next(self._order), call))

    def watch(self, descriptor: int, ready: Callable[[], None], writing: bool = False) -> None:
        """Call `ready` whenever the socket is readable, and with `writing` also when writable."""
        events = _READ | _WRITE if writing else _READ
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, ready)
        else:
            self._selector.register(descriptor, events, ready)

    def forget(self, descriptor: int) -> None:
        """Stop watching a socket, before it is closed."""
        self._selector.unregister(descriptor)

    def turn(self, timeout: float) -> None:
        """Make the calls that are due, then wait up to `timeout` seconds for a socket."""
        self._call_due()
        if self._calls:
            timeout = min(timeout, max(0.0, self._calls[0][0] - time.monotonic()))
        for key, _ in self._selector.select(timeout):
            # An earlier call of this turn may have closed it.
            if key.fd in self._selector.get_map():
                key.data()

    def close(self) -> None:
        """Close the selector, after the connections."""
        self._selector.close()

    def _call_due(self) -> None:
        now = time.monotonic()
        while self._calls and self._calls[0][0] <= now:
            heapq.heappop(self._calls)[2]()

    def _call_soon(self) -> None:
        os.read(self._wake_reader, 4096)
        while self._soon:
            self._soon.popleft()()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
