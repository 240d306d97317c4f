"""Statistics: counts of the messages of each entry, kept over restarts."""

from datetime import datetime

import msgspec

from broker.tracked_connection import Delivery
from publisher.status import MessageCounts, PublisherStatus, Totals, total_of
from utils import clock


class MessageCounter(msgspec.Struct, gc=False):
    """Counts messages: published, of these acknowledged or failed, and missed when due."""

    published: int = 0
    acknowledged: int = 0
    failed: int = 0
    missed: int = 0
    last: float | None = None  # time of the last publish, in epoch seconds
    total: "MessageCounter | None" = None  # counts here too, even after the entry is removed

    def on_publish(self, now: float) -> None:
        """Count a message that is published; `now` is in epoch seconds."""
        if self.total is not None:  # first, so that it is never less than the sum
            self.total.on_publish(now)
        self.published += 1
        self.last = now

    def on_miss(self, number: int) -> None:
        """Count messages that could not be published when they were due."""
        if self.total is not None:
            self.total.on_miss(number)
        self.missed += number

    def on_delivery(self, delivery: Delivery) -> None:
        """Count the outcome of a message; at QoS 0 it is unknown."""
        if self.total is not None:
            self.total.on_delivery(delivery)
        if delivery is Delivery.CONFIRMED:
            self.acknowledged += 1
        elif delivery is not Delivery.WRITTEN:
            self.failed += 1

    def as_json(self) -> MessageCounts:
        """Return the counts as JSON."""
        last = None if self.last is None else clock.rfc3339(clock.from_epoch(self.last))
        return {
            "published": self.published,
            "acknowledged": self.acknowledged,
            "failed": self.failed,
            "missed": self.missed,
            "last_published_at": last,
        }


class Statistics:
    """The counts of all entries, continued from a saved status; one thread counts, any may read."""

    def __init__(self, saved: PublisherStatus | None = None) -> None:
        self.total = MessageCounter()
        self._entries: dict[str, MessageCounter] = {}
        if saved is not None:
            self.total = _counts(total_of(saved), None)
            for entry in saved["configs"]:
                self._entries[entry["id"]] = _counts(entry, self.total)

    def of(self, name: str) -> MessageCounter:
        """Return the counts of an entry; those of a new entry begin at 0."""
        return self._entries.setdefault(name, MessageCounter(total=self.total))

    def forget(self, name: str) -> None:
        """Remove an entry; the total keeps its counts."""
        del self._entries[name]

    def totals(self, started: datetime | None = None, uptime: float = 0.0) -> Totals:
        """Return the total as JSON."""
        counts = self.total.as_json()
        return {
            "total_published": counts["published"],
            "total_acknowledged": counts["acknowledged"],
            "total_failed": counts["failed"],
            "total_missed": counts["missed"],
            "total_errors": counts["failed"],
            "last_published_at": counts["last_published_at"],
            "uptime_seconds": round(uptime, 3),
            "started_at": None if started is None else clock.rfc3339(started),
            "saved_at": clock.rfc3339(clock.now()),
        }


def _counts(saved: MessageCounts, total: MessageCounter | None) -> MessageCounter:
    published_at = saved["last_published_at"]
    last = None if published_at is None else _epoch_seconds(published_at)
    sent = saved["published"], saved["acknowledged"]
    return MessageCounter(*sent, saved["failed"], saved["missed"], last, total)


def _epoch_seconds(text: str) -> float:
    return (clock.parse(text) - clock.EPOCH).total_seconds()
