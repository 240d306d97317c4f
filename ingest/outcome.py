"""The outcomes of the messages of one kind, and of a whole batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.message import Message
from broker.notifier import ChangeSet
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from models import RETAINED


class Fate(NamedTuple):
    """What became of a reading that is one of several in its message."""

    reading: Reading
    is_stored: bool = False
    """Whether it is new; otherwise it is a duplicate."""
    rejection: Rejection | None = None
    """Why it was not stored."""


@dataclass
class ReadingCounts:
    """How many readings were stored, and how many were known already."""

    stored: int = 0
    duplicate: int = 0

    @property
    def accepted(self) -> int:
        """The sum of both."""
        return self.stored + self.duplicate


@dataclass
class Applied:
    """The outcome of the messages of one kind."""

    stored: int = 0
    """How many messages changed something."""
    duplicate: int = 0
    """How many messages changed nothing."""
    rejections: list[Rejection] = field(default_factory=list)
    changes: ChangeSet = field(default_factory=ChangeSet)
    """The changes in the database."""
    unkeyed: Sequence[Message] = ()
    """The messages whose redelivery no unique key of a table would detect."""
    fates: list[Fate] = field(default_factory=list)
    """What became of readings that are one of several; the counts do not include them."""
    partly_read: list[Rejection] = field(default_factory=list)
    """The messages that are kept although a reading was stored: a value could not be read."""


@dataclass
class Outcome:
    """The outcome of a batch; each received message counts in exactly one of the other four."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    parsed: Sequence[Parsed] = ()
    """The parsed messages, without the known repetitions."""
    repeated: Sequence[Message] = ()
    """Redeliveries of committed messages, and copies by another filter; all are duplicates."""
    changes: ChangeSet = field(default_factory=ChangeSet)
    """The changes in the database."""
    readings: ReadingCounts = field(default_factory=ReadingCounts)
    partly_read: list[Rejection] = field(default_factory=list)
    """Stored messages of which a value could not be read; they are not rejected."""

    def add(self, applied: Applied) -> None:
        """Add the outcome of the messages of one kind."""
        self.stored += applied.stored
        self.duplicate += applied.duplicate
        self.rejections += applied.rejections
        self.changes.add(applied.changes)
        self.partly_read += applied.partly_read

    def counts(self) -> dict[str, int]:
        """Return the counts of the batch, by the names of their columns."""
        return {
            "received": self.received,
            "stored": self.stored,
            "duplicate": self.duplicate,
            "rejected": len(self.rejections),
            "ignored": len(self.ignored),
            "values_left_out": self._values_left_out(),
            "readings_stored": self.readings.stored,
            "readings_duplicate": self.readings.duplicate,
            "readings_rejected": sum(rejection.readings for rejection in self.rejections),
        }

    def ignored_counts(self) -> list[tuple[str, int]]:
        """Return how many messages were ignored for each reason, sorted by reason."""
        return sorted(Counter(ignored.reason for ignored in self.ignored).items())

    def best_effort(self) -> int:
        """Return how many messages were received at QoS 0."""
        packet_ids = [item.message.packet_id for item in self.parsed]
        return packet_ids.count(0) + [one.packet_id for one in self.repeated].count(0)

    def with_next(self, other: "Outcome") -> "Outcome":
        """Return the counts and rejections of this and another part of a batch."""
        if not self.received:
            return other
        return Outcome(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.rejections + other.rejections,
            self.ignored + other.ignored,
        )

    def ignore_retained(self) -> None:
        """Ignore retained messages instead of rejecting them.

        The broker repeats them at every connection, and each was rejected when it was new.
        """
        retained = [one for one in self.rejections if one.message.retained]
        if retained:
            self.rejections = [one for one in self.rejections if not one.message.retained]
            self.ignored += [Ignored(RETAINED, one.message) for one in retained]

    def kept_raw(self) -> Sequence[Rejection]:
        """Return the messages to keep as they came, each once."""
        if not self.partly_read:
            return self.rejections
        rejected = {id(one.message) for one in self.rejections}
        partly = [one for one in self.partly_read if id(one.message) not in rejected]
        return [*self.rejections, *partly]

    def _values_left_out(self) -> int:
        """Return how many values of optional metrics could not be read, and fields not be kept."""
        odd = (one for one in self.parsed_readings() if one.faults or one.left_out)
        return sum(len(one.unread) + one.left_out for one in odd)

    def parsed_readings(self) -> Iterator[Reading]:
        """Yield each reading of the messages."""
        for item in self.parsed:
            if isinstance(item, Reading):
                yield item
            elif isinstance(item, Several):
                yield from item.readings
