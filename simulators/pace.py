"""The pace: how many messages are due, and the time that each of them carries."""

import sys
import time
from datetime import datetime, timedelta

from utils import clock

_MAX_LAG = 1.0
"""Seconds. Whoever is later than this goes on from now: a device does not measure what it missed."""


class Pace:
    """An even number of messages a second, or without a limit for a rate of 0."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start = time.time()
        self._made = 0

    def due(self) -> int:
        """How many messages are to be made now."""
        if not self._rate:
            return sys.maxsize
        now = time.time()
        lag = now - self._next()
        if lag > _MAX_LAG or lag < -_MAX_LAG - 1 / self._rate:  # the latter: the clock was set back
            self._start, self._made = now, 0
        return max(0, int((now - self._start) * self._rate) + 1 - self._made)

    def wait(self) -> float:
        """Seconds until the next message is due."""
        return max(0.0, self._next() - time.time()) if self._rate else 0.0

    def step(self) -> datetime:
        """The time of the next message in naive UTC; by calling this it is made."""
        if not self._rate:
            return clock.now()
        moment = clock.EPOCH + timedelta(seconds=self._next())
        self._made += 1
        return moment

    def _next(self) -> float:
        return self._start + self._made / self._rate
