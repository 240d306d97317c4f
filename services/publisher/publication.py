"""The publication: every entry at its own times on its line. All of it happens in the thread of the connections."""

import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from services.publisher.connections import MQTTConnectionManager
from services.publisher.entries import PublishConfig
from services.publisher.line import Line, Message, Outcome
from services.publisher.schedule import Appointment, Schedule
from services.publisher.statistics import Counts, Statistics
from services.publisher.suspects import Suspects

logger = logging.getLogger(__name__)
BATCH = 200
"""Messages that are published in one go; then it is looked what the broker says."""
SPREAD_SECONDS = 1.0
UNTRIED_SECONDS = 0.05
"""How often it looks whether those that have not begun can begin."""
MOST_APART = 20
"""Entries without a will that get a connection of their own, because the broker ends the shared one for them."""
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
        self.publication.suspects.forget(self)
        if self._appointment is not None:
            self.publication.schedule.cancel(self._appointment)
        if not self.config.lwt:
            if self.apart:
                self.line.leave()
            return None
        if successor is not None and successor.lwt and successor.topic == self.config.topic:
            if self._before is None:
                return self.line
            self.line.leave(silently=True)
            return self._before
        for line in filter(None, (self.line, self._before)):
            line.leave()
        return None

    @property
    def apart(self) -> bool:
        """Whether it has a connection of its own, though it has no will."""
        return self.line is not self.publication.shared and not self.config.lwt

    def move_apart(self) -> None:
        """Disturb the others no more."""
        self.publication.suspects.forget(self)
        self.line = self.publication.own_line(self, None)

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
        if self.line.open and self.config.lwt:
            self._publish()
            if self._before is not None:
                self._before.leave(silently=True)
                self._before = None
        if self._appointment is None:
            self.begin(now + self.config.interval if self.line.open else now)

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of a message."""
        self.counts.settled(outcome)
        if outcome in (Outcome.CONFIRMED, Outcome.REFUSED):
            self.publication.suspects.clear(self)

    def _publish(self) -> None:
        self.counts.published += 1
        self.counts.last = time.time()
        self.line.publish(self._message, self)
        if self.line is self.publication.shared:
            self.publication.suspects.published(self, time.monotonic(), confirmed_later=self.config.qos > 0)


class Publication:
    """All entries."""

    def __init__(self, connections: MQTTConnectionManager, statistics: Statistics, publisher_id: str) -> None:
        self._connections = connections
        self._publisher_id = publisher_id
        self._statistics = statistics
        self.shared = connections.shared
        self.suspects: Suspects[Entry] = Suspects()
        self._was_open = False
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
            return self.own_line(entry, Message(config.topic, config.offline, config.qos, config.retain))
        self._waiting.append(entry)
        return self.shared

    def own_line(self, entry: Entry, will: Message | None) -> Line:
        """A line that an entry has for itself."""
        return self._connections.line(entry, self._client_ids(entry.config), will)

    def turn(self) -> float:
        """Publish what is due; in how many seconds the next is."""
        if self._was_open and not self.shared.open:
            self._move_suspects_apart()
        self._was_open = self.shared.open
        if self._waiting and self.shared.tried:
            self._begin_waiting()
        if self.untried and self._connections.problem:
            # While the broker is away they are dialled one after the other; what falls due until then is missed.
            for entry in list(self.untried):
                entry.begin(time.monotonic())
        for entry, left_out in self.schedule.due(time.monotonic(), BATCH):
            entry.fall_due(left_out)
        wait = self.schedule.wait(time.monotonic())
        longest = UNTRIED_SECONDS if self._waiting or self.untried else SPREAD_SECONDS
        return longest if wait is None else min(wait, longest)

    def _move_suspects_apart(self) -> None:
        found = self.suspects.connection_ended(time.monotonic())
        if len(found) + sum(entry.apart for entry in self.entries.values()) > MOST_APART:
            return
        for entry in found:
            entry.move_apart()
        if found:
            logger.warning(
                "The connection ended again (%s) as one of these was published: %s. From now on each has a connection "
                "of its own, to disturb no other. Does the broker take their size, their retain flag and their topic?",
                self._connections.problem,
                ", ".join(f'"{entry.config.id}"' for entry in found),
            )

    def _client_ids(self, config: PublishConfig) -> Iterator[str]:
        """The same over dials and restarts, others for a changed entry, whose line is open beside the old one's.

        A broker that has not noticed that a connection is dead then ends it, with its will, before it accepts the new
        one. Otherwise the will would come when it notices, and be the last word.
        """
        for number in itertools.count():
            known = f"{self._publisher_id}{number}{config!r}".encode()
            yield blake2b(known, digest_size=11).hexdigest()  # as long as every broker takes

    def _begin_waiting(self) -> None:
        """Spread them evenly, however many there are and come later: a flood each second would make all late."""
        now = time.monotonic()
        for entry in self._waiting:
            if self.has(entry):
                share = self._begun * _GOLDEN % 1
                self._begun += 1
                entry.begin(now + share * min(entry.config.interval, SPREAD_SECONDS))
        self._waiting.clear()
