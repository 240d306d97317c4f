"""How long to wait between attempts."""

import random
import time


class Backoff:
    """Waiting times between attempts: they double up to a limit.

    Each is shortened by a random share of at most `jitter`, so that many clients of a broker do not
    reconnect at the same moment.
    """

    def __init__(self, first: float, last: float, jitter: float = 0.0) -> None:
        self._first, self._last = first, last
        self._jitter = jitter
        self._seconds = first
        self._due = 0.0

    def due(self) -> bool:
        """Whether the next attempt may be made."""
        return time.monotonic() >= self._due

    @property
    def remaining(self) -> float:
        """How many seconds are left until the next attempt may be made."""
        return max(0.0, self._due - time.monotonic())

    @property
    def seconds(self) -> float:
        """How long the next attempt is delayed if this one fails."""
        return self._seconds

    def failed(self) -> float:
        """Delay the next attempt; return by how many seconds."""
        wait = self._seconds * random.uniform(1 - self._jitter, 1)  # noqa: S311 - no secret
        self._due = time.monotonic() + wait
        self._seconds = min(self._seconds * 2, self._last)
        return wait

    def reset(self) -> None:
        """Start over after a success."""
        self._seconds, self._due = self._first, 0.0
