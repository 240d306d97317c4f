"""How long to wait between attempts."""

import time


class Backoff:
    """Waiting times between attempts: they double up to a limit."""

    def __init__(self, first: float, last: float) -> None:
        self._first, self._last = first, last
        self._seconds = first
        self._due = 0.0

    def due(self) -> bool:
        """Whether the next attempt may be made."""
        return time.monotonic() >= self._due

    @property
    def seconds(self) -> float:
        """How long the next attempt is put off if this one fails."""
        return self._seconds

    def failed(self) -> None:
        """Put off the next attempt."""
        self._due = time.monotonic() + self._seconds
        self._seconds = min(self._seconds * 2, self._last)

    def reset(self) -> None:
        """Start over after a success."""
        self._seconds, self._due = self._first, 0.0
