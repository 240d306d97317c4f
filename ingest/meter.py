"""The rate at which messages were stored in the last minute."""

import time
from collections import deque
from typing import NamedTuple

SPAN_SECONDS = 60.0


class IngestRates(NamedTuple):
    """Messages per second, and milliseconds to store one message; None without messages."""

    messages_per_second: float
    processing_ms: float | None


class Meter:
    """Remembers the batches of the last minute."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        # For each batch: when it was stored, its messages, and the seconds that it took.
        self._batches: deque[tuple[float, int, float]] = deque()

    def add(self, messages: int, seconds: float) -> None:
        """Record a stored batch."""
        self._batches.append((time.monotonic(), messages, seconds))
        self._forget()

    def figures(self) -> IngestRates:
        """Return the rates over the last minute, or since the start if that is shorter."""
        self._forget()
        messages = sum(batch[1] for batch in self._batches)
        seconds = sum(batch[2] for batch in self._batches)
        span = min(SPAN_SECONDS, max(1.0, time.monotonic() - self._since))
        milliseconds = round(1000 * seconds / messages, 4) if messages else None
        return IngestRates(round(messages / span, 3), milliseconds)

    def _forget(self) -> None:
        oldest = time.monotonic() - SPAN_SECONDS
        while self._batches and self._batches[0][0] < oldest:
            self._batches.popleft()
