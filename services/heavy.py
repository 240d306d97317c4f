"""Questions that keep a processor busy: so many at a time in a process, so that the others are answered."""

import threading

HEAVY_ROWS = 10_000
"""A question that reads more rows than this is one of them."""
WAIT_SECONDS = 5.0
MAX_WAITING = 32
"""Each that waits holds a thread of the server."""


class Busy(Exception):
    """There was no turn for a question; the text says what to do."""


class Turns:
    """Lets at most so many questions run at a time; a few others wait for a turn."""

    def __init__(self, most: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._most = most
        self._wait_seconds = wait_seconds
        self._running = threading.Semaphore(most)
        self._waiting = threading.Semaphore(MAX_WAITING)

    def take(self) -> None:
        """Take a turn, which must be given back. Raises Busy."""
        if self._running.acquire(blocking=False):
            return
        taken = False
        if self._waiting.acquire(blocking=False):
            taken = self._running.acquire(timeout=self._wait_seconds)
            self._waiting.release()
        if not taken:
            raise Busy(
                f"{self._most} large questions are being answered, as many as HEAVY_REQUESTS allows. "
                "Try again, or ask for less: a shorter time, one device, or fewer rows"
            )

    def give_back(self) -> None:
        """Let the next one run."""
        self._running.release()
