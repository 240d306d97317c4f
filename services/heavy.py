"""Limit how many heavy requests a process runs at a time, so that the others are served."""

import threading

HEAVY_ROWS = 10_000
"""A request that reads more rows than this is heavy."""
WAIT_SECONDS = 5.0
MAX_WAITING = 32
"""Each waiting request holds a thread of the server."""


class Busy(Exception):
    """No turn became free for a request; the text says what to do."""


class Turns:
    """Lets a limited number of requests run at a time; a few others wait for a turn."""

    def __init__(self, most: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._most = most
        self._wait_seconds = wait_seconds
        self._running = threading.Semaphore(most)
        self._waiting = threading.Semaphore(MAX_WAITING)

    def take(self) -> None:
        """Take a turn, to be given back later. Raises Busy."""
        if self._running.acquire(blocking=False):
            return
        taken = False
        if self._waiting.acquire(blocking=False):
            taken = self._running.acquire(timeout=self._wait_seconds)
            self._waiting.release()
        if not taken:
            raise Busy(
                f"{self._most} large requests are running, as many as HEAVY_REQUESTS allows. "
                "Try again, or request less: a shorter time range, one device, or fewer rows"
            )

    def give_back(self) -> None:
        """Give the turn to the next request."""
        self._running.release()
