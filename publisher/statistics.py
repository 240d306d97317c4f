"""Statistics: what became of the messages of each entry, over restarts."""

import threading

from publisher.line import Outcome
from publisher.status import NAMES, Published, Status, Totals
from utils import clock


class Counts:
    """Messages that were published, of those acknowledged or failed, and that could not be when they were due."""

    __slots__ = ("_heir", "acknowledged", "failed", "last", "missed", "published")

    def __init__(
        self, published: int = 0, acknowledged: int = 0, failed: int = 0, missed: int = 0, last: float | None = None
    ) -> None:
        self.published = published
        self.acknowledged = acknowledged
        self.failed = failed
        self.missed = missed
        self.last = last
        """When it was published last, in epoch seconds."""
        self._heir: Counts | None = None

    def settled(self, outcome: Outcome) -> None:
        """Count what became of a published message; of one at QoS 0 nobody knows."""
        counts = self if self._heir is None else self._heir
        if outcome is Outcome.CONFIRMED:
            counts.acknowledged += 1
        elif outcome in (Outcome.LOST, Outcome.REFUSED):
            counts.failed += 1

    def leave_to(self, heir: "Counts") -> None:
        """Have another count all of this, and what is settled later."""
        heir.add(self)
        self._heir = heir

    def add(self, other: "Counts") -> None:
        """Count what another has counted."""
        for name in NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last = max(filter(None, (self.last, other.last)), default=None)

    def document(self) -> Published:
        """The same as JSON."""
        return {
            "published": self.published,
            "acknowledged": self.acknowledged,
            "failed": self.failed,
            "missed": self.missed,
            "last_published_at": None if self.last is None else clock.rfc3339(clock.from_epoch(self.last)),
        }


class Statistics:
    """The counts of all entries, and of those that are no longer there.

    One thread counts and forgets; any may ask for the total.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Counts] = {}
        self._gone = Counts()
        self._lock = threading.Lock()

    def of(self, name: str) -> Counts:
        """The counts of an entry, which begin at 0 unless it is known."""
        with self._lock:
            return self._entries.setdefault(name, Counts())

    def forget(self, name: str) -> None:
        """Keep of an entry nothing but what it adds to the total."""
        with self._lock:
            self._entries.pop(name).leave_to(self._gone)

    def total(self) -> Counts:
        """What all entries have counted, ever."""
        total = Counts()
        with self._lock:
            total.add(self._gone)
            entries = list(self._entries.values())
        for counts in entries:
            total.add(counts)
        return total

    def restore(self, saved: Status) -> None:
        """Go on from the status that a process saved."""
        for entry in saved["configs"]:
            self._entries[entry["id"]] = _counts(entry)
        gone, total = _total(saved["statistics"]), self.total()
        for name in NAMES:
            # Whoever saved it may have counted on between the total and the entries.
            setattr(gone, name, max(0, getattr(gone, name) - getattr(total, name)))
        self._gone = gone


def _counts(saved: Published) -> Counts:
    counts = saved["published"], saved["acknowledged"], saved["failed"], saved["missed"]
    return Counts(*counts, _seconds(saved["last_published_at"]))


def _total(saved: Totals) -> Counts:
    counts = saved["total_published"], saved["total_acknowledged"], saved["total_failed"], saved["total_missed"]
    return Counts(*counts, _seconds(saved["last_published_at"]))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else (clock.parse(moment) - clock.EPOCH).total_seconds()
