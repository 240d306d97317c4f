"""Suspects: for which of those that are published the broker may have ended the connection."""

from collections import Counter
from typing import Generic, TypeVar

T = TypeVar("T")
ANSWER_SECONDS = 1.0
"""After so long without an end, what is not acknowledged, as at QoS 0, was taken."""
BLAMED_ENDS = 2


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


class Trial:
    """Whether it is for this thing that the connection ends, which it has for itself."""

    __slots__ = ("_ended", "_ends", "_published")

    def __init__(self, ends: int = 0) -> None:
        """Begin with this many ends that it may be to blame for."""
        self._ends = ends
        self._published: float | None = None
        """When it was first published on this connection, until that has carried it."""
        self._ended: float | None = None
        """When the one before ended that had not carried it."""

    def published(self, now: float) -> None:
        """Hear that it is on its way."""
        if self._published is None:
            self._published = now

    def carried(self) -> bool:
        """Hear that the connection has carried it; whether that was not known."""
        news, self._published, self._ends = self._published is not None, None, 0
        return news

    def unanswered(self, now: float) -> bool:
        """Whether it is so long on its way that the connection would have ended for it."""
        return self._published is not None and now > self._published + ANSWER_SECONDS

    def ended(self, now: float) -> None:
        """Hear that the connection has ended, or could not be opened."""
        if self._published is not None:
            self._published, self._ended = None, now

    def reopened(self, other_since: float | None) -> bool:
        """Whether it is found to blame now: only its own connection ends, and another is open since long before."""
        ended, self._ended = self._ended, None
        if ended is None or other_since is None or other_since > ended:
            return False
        self._ends += 1
        return self._ends == BLAMED_ENDS
