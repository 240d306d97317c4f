"""Suspects: for which of those that share a connection the broker may have ended it."""

from collections import Counter
from typing import Generic, TypeVar

T = TypeVar("T")
ANSWER_SECONDS = 1.0
"""After so long without an end, what is not acknowledged, as at QoS 0, was taken."""


class Suspects(Generic[T]):
    """Things that are published again and again on one connection after the other.

    What a broker does not take (too large, retained, forbidden) it may answer by ending the connection, at once and
    every time. So who is to blame was published on it for the first time, just before the end, and never confirmed.
    """

    def __init__(self) -> None:
        self._tried: dict[T, float] = {}
        """What was first published on this connection and not confirmed, and until when it is suspected."""
        self._cleared: set[T] = set()
        self._ends: Counter[T] = Counter()
        """At the end of how many connections in a row each was a suspect."""

    def published(self, thing: T, now: float, *, confirmed_later: bool) -> None:
        """Suspect this, unless this connection has carried it before."""
        if thing in self._cleared:
            return
        until = self._tried.setdefault(thing, float("inf") if confirmed_later else now + ANSWER_SECONDS)
        if until < now:
            self.clear(thing)

    def clear(self, thing: T) -> None:
        """Suspect it no longer: this connection has carried it."""
        if self._tried.pop(thing, None) is not None:
            self._cleared.add(thing)
            del self._ends[thing]

    def forget(self, thing: T) -> None:
        """It is not published here any more."""
        self._tried.pop(thing, None)
        self._cleared.discard(thing)
        del self._ends[thing]

    def connection_ended(self, now: float) -> list[T]:
        """Those that were suspects most often in a row; none the first time, which may have any reason."""
        present = [thing for thing, until in self._tried.items() if now < until]
        self._tried.clear()
        self._cleared.clear()
        self._ends.update(present)
        most = max((self._ends[thing] for thing in present), default=0)
        return [thing for thing in present if self._ends[thing] == most] if most > 1 else []
