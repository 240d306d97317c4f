"""The publication: every entry at its own times on its line. All of it happens in the thread of the connections."""

import time
from collections.abc import Iterable
from hashlib import blake2b

from services.publisher.connections import MQTTConnectionManager
from services.publisher.entries import PublishConfig
from services.publisher.line import Line, Message, Outcome
from services.publisher.schedule import Appointment, Schedule
from services.publisher.statistics import Counts, Statistics

BATCH = 200
"""Messages that are published in one go; then it is looked what the broker says."""
SPREAD_SECONDS = 1.0
UNTRIED_SECONDS = 0.05
"""How often it looks whether those that have not begun can begin."""
_GOLDEN = 0.6180339887498949


class Entry:
    """One entry: when it is due it is published, unless its line has no room."""

    __slots__ = ("_appointment", "_before", "_message", "config", "counts", "line", "publication")

    def __init__(self, config: PublishConfig, counts: Counts, publication: "Publication") -> None:
        self.config = config
        self.counts = counts
        self.publication = publication
        self._message = Message(config.topic, config.payload, config.qos, config.retain)
        self._appointment: Appointment[Entry] | None = None
        self._before: Line | None = None
        self.line = publication.line(self)

    def begin(self, first: float) -> None:
        """Be due from a time on."""
        self.publication.untried.discard(self)
        self._appointment = self.publication.schedule.add(self, first, self.config.interval)

    def end(self, successor: PublishConfig | None) -> Line | None:
        """Be due no more; the line with the will is left to a successor on the same topic until it has its own."""
        self.publication.untried.discard(self)
        if self._appointment is not None:
            self._appointment.cancelled = True
        if not self.config.lwt:
            return None
        if successor is not None and successor.lwt and successor.topic == self.config.topic:
            if self._before is None:
                return self.line
            self.line.leave(silently=True)
            return self._before
        for line in filter(None, (self.line, self._before)):
            line.leave()
        return None

    def take_over(self, line: Line | None) -> None:
        """End the line of the one before when the own one is open."""
        self._before = line

    def fall_due(self, left_out: int) -> None:
        """Publish, or count that it could not be."""
        self.counts.missed += left_out
        if self.line.room:
            self._publish()
        else:
            self.counts.missed += 1

    def answered(self) -> None:
        """Say at once that it is there: the broker may have published the will; of its times the first is now."""
        if not self.publication.has(self):
            self.line.leave(silently=True)
            return
        now = time.monotonic()
        if self.line.open:
            self._publish()
            if self._before is not None:
                self._before.leave(silently=True)
                self._before = None
        if self._appointment is None:
            self.begin(now + self.config.interval if self.line.open else now)

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of the goodbye, which does not count."""

    def _publish(self) -> None:
        self.counts.published += 1
        self.counts.last = time.time()
        self.line.publish(self._message, self.counts)


class Publication:
    """All entries."""

    def __init__(self, connections: MQTTConnectionManager, statistics: Statistics, publisher_id: str) -> None:
        self._connections = connections
        self._publisher_id = publisher_id
        self._statistics = statistics
        self._shared = connections.shared
        self._waiting: list[Entry] = []
        """Those that begin when it is known whether the shared line can be opened."""
        self.untried: set[Entry] = set()
        """Those that begin when it is known whether the line of their own can be opened, or that another cannot."""
        self._begun = 0
        self.schedule: Schedule[Entry] = Schedule()
        self.entries: dict[str, Entry] = {}

    def apply(self, configs: Iterable[PublishConfig]) -> None:
        """Publish these and no others; who did not change keeps its times, its line and its counts."""
        wanted = {config.id: config for config in configs}
        lines = {}
        for name, entry in list(self.entries.items()):
            successor = wanted.get(name)
            if successor != entry.config:
                lines[name] = self.entries.pop(name).end(successor)
                if successor is None:
                    self._statistics.forget(name)
        for name, config in wanted.items():
            if name not in self.entries:
                entry = self.entries[name] = Entry(config, self._statistics.of(name), self)
                entry.take_over(lines.get(name))

    def has(self, entry: Entry) -> bool:
        """Whether an entry has not ended."""
        return self.entries.get(entry.config.id) is entry

    def line(self, entry: Entry) -> Line:
        """The line of a new entry: one of its own if it has a will."""
        config = entry.config
        if config.lwt:
            self.untried.add(entry)
            will = Message(config.topic, config.offline, config.qos, config.retain)
            return self._connections.line(entry, self._client_id(config), will)
        self._waiting.append(entry)
        return self._shared

    def turn(self) -> float:
        """Publish what is due; in how many seconds the next is."""
        if self._waiting and self._shared.tried:
            self._begin_waiting()
        if self.untried and self._connections.problem:
            # While the broker is away they are dialled one after the other; what falls due until then is missed.
            for entry in list(self.untried):
                entry.begin(time.monotonic())
        due = list(self.schedule.due(time.monotonic(), BATCH))
        if len(due) > 1 and self._shared.open:
            with self._shared.together():
                for entry, left_out in due:
                    entry.fall_due(left_out)
        else:
            for entry, left_out in due:
                entry.fall_due(left_out)
        wait = self.schedule.wait(time.monotonic())
        longest = UNTRIED_SECONDS if self._waiting or self.untried else SPREAD_SECONDS
        return longest if wait is None else min(wait, longest)

    def _client_id(self, config: PublishConfig) -> str:
        """The same over dials and restarts, another for a changed entry, whose line is open beside the old one's.

        A broker that has not noticed that a connection is dead then ends it, with its will, before it accepts the new
        one. Otherwise the will would come when it notices, and be the last word.
        """
        known = f"{self._publisher_id}{config!r}".encode()
        return blake2b(known, digest_size=11).hexdigest()  # as long as every broker takes

    def _begin_waiting(self) -> None:
        """Spread them evenly, however many there are and come later: a flood each second would make all late."""
        now = time.monotonic()
        for entry in self._waiting:
            if self.has(entry):
                share = self._begun * _GOLDEN % 1
                self._begun += 1
                entry.begin(now + share * min(entry.config.interval, SPREAD_SECONDS))
        self._waiting.clear()
