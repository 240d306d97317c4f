"""How fast messages are stored, over the last minute."""

import time
from collections import deque
from typing import NamedTuple

SPAN_SECONDS = 60.0


class IngestRates(NamedTuple):
    """Messages a second, and milliseconds that storing one of them took; None where there were none."""

    messages_per_second: float
    processing_ms: float | None


class Meter:
    """Remembers each batch of the last minute."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._batches: deque[tuple[float, int, float]] = deque()
        """When each batch was stored, how many messages it had, and how many seconds it took."""

    def add(self, messages: int, seconds: float) -> None:
        """Note a stored batch."""
        self._batches.append((time.monotonic(), messages, seconds))
        self._forget()

    def figures(self) -> IngestRates:
        """What it comes to; at first over a shorter time."""
        self._forget()
        messages = sum(batch[1] for batch in self._batches)
        span = min(SPAN_SECONDS, max(1.0, time.monotonic() - self._since))
        seconds = sum(batch[2] for batch in self._batches)
        return IngestRates(round(messages / span, 3), round(1000 * seconds / messages, 4) if messages else None)

    def _forget(self) -> None:
        oldest = time.monotonic() - SPAN_SECONDS
        while self._batches and self._batches[0][0] < oldest:
            self._batches.popleft()
