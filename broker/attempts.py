"""Attempts to connect: when the next one is due, and how their connections end."""

import math
import time
from collections import deque

from broker.backoff import Backoff

FIRST_BACKOFF, LAST_BACKOFF = 1.0, 10.0
HANDSHAKE_SECONDS = 10.0
EVICTIONS, EVICTED_SECONDS, EVICTIONS_SECONDS = 3, 5.0, 60.0
"""Three connections shorter than 5 s within a minute: another client uses the client id."""


class Attempts:
    """The consecutive attempts of one client."""

    def __init__(self) -> None:
        self.answered = False
        """Whether the broker has answered CONNECT."""
        self._backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        self._evictions = Evictions()
        self._begun_at = 0.0

    def due(self) -> bool:
        """Whether the next attempt may be made."""
        return self._backoff.due()

    def begin(self) -> None:
        """Record that an attempt begins now."""
        self._begun_at = time.monotonic()
        self.answered = False
        self._backoff.failed()

    def overdue(self) -> bool:
        """Whether the broker should have answered by now."""
        return time.monotonic() - self._begun_at >= HANDSHAKE_SECONDS

    def accepted(self) -> None:
        """Record that the broker has accepted the connection."""
        self._backoff.reset()
        self._evictions.connected()

    def lost_soon(self) -> bool:
        """Whether a connection that ends now has lasted only a short time."""
        return self._evictions.lost_soon()

    def lost(self) -> bool:
        """Record that a connection has ended; return whether another client seems to use the id."""
        return self._evictions.lost()


class Evictions:
    """Detects two clients with one client id, whose connections the broker ends in turn.

    MQTT 3.1.1 has no code for this, so three short connections within a minute indicate it.
    """

    def __init__(self) -> None:
        self._connected_at = -math.inf
        self._ends: deque[float] = deque(maxlen=EVICTIONS)

    def connected(self) -> None:
        """Record that the broker has accepted a connection."""
        self._connected_at = time.monotonic()

    def lost_soon(self) -> bool:
        """Whether a connection that ends now has lasted only a short time."""
        return time.monotonic() - self._connected_at < EVICTED_SECONDS

    def lost(self) -> bool:
        """Record that a connection has ended; return whether another client seems to use the id."""
        now = time.monotonic()
        if self.lost_soon():
            self._ends.append(now)
        return len(self._ends) == EVICTIONS and now - self._ends[0] < EVICTIONS_SECONDS
