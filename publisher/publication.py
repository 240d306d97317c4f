"""The publication: every entry at its own times on its line. All of it happens in the thread of the connections."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from publisher.connections import MQTTConnectionManager
from publisher.entries import PublishConfig
from publisher.line import Line, Message, Outcome
from publisher.retained import Retained
from publisher.schedule import Appointment, Schedule
from publisher.statistics import Counts, Statistics
from publisher.suspects import ANSWER_SECONDS, BLAMED_ENDS, Suspects, Trial

logger = logging.getLogger(__name__)
BATCH = 200
"""Messages that are published in one go; then it is looked what the broker says."""
SPREAD_SECONDS = 1.0
UNTRIED_SECONDS = 0.05
"""How often it looks whether those that have not begun can begin."""
FEW = 10
"""Of the suspects of one end: so many of the first that the broker confirms, and of the last that it does not."""
MOST_APART = 100
"""Entries that have a connection of their own because the broker may have ended the shared one for them."""
_GOLDEN = 0.6180339887498949


class Entry:
    """One entry: when it is due it is published, unless its line has no room."""

    __slots__ = ("_appointment", "_before", "_message", "_refused", "_trial", "config", "counts", "line", "publication")

    def __init__(
        self, config: PublishConfig, counts: Counts, publication: "Publication", before: Line | None = None
    ) -> None:
        self.config = config
        self.counts = counts
        self.publication = publication
        self._message = Message(config.topic, config.payload, config.qos, config.retain)
        self._appointment: Appointment[Entry] | None = None
        self._before = before if before is not None and before.open else None
        """The line of the one before, until the own one is open."""
        self._refused = False
        self._trial = Trial() if config.lwt else None
        """Of its own connection, if it has one."""
        self.line = publication.line(self, before)

    def begin(self, first: float) -> None:
        """Be due from a time on."""
        self.publication.untried.discard(self)
        self._appointment = self.publication.schedule.add(self, first, self.config.interval)

    def end(self, *, inherited: bool) -> Line | None:
        """Be due no more; if another inherits the line with the will, it has it until its own is open."""
        self.publication.untried.discard(self)
        self.publication.suspects.forget(self)
        if self._appointment is not None:
            self.publication.schedule.cancel(self._appointment)
        if not self.config.lwt:
            if self.apart:
                self._leave(self.line)
            return None
        if inherited:
            if self._before is None:
                return self.line
            self.line.leave(silently=True)
            return self._before
        for line in filter(None, (self.line, self._before)):
            self._leave(line)
        return None

    def _leave(self, line: Line) -> None:
        """Have a line end; on another one the message that clears the topic could overtake its last ones."""
        line.leave(last=self.publication.retained.last_of(self.config.topic) if line.open else None)

    @property
    def apart(self) -> bool:
        """Whether it has a connection of its own, though it has no will."""
        return self.line is not self.publication.shared and not self.config.lwt

    def move_apart(self) -> None:
        """Be published on another connection, so that only its own ends."""
        self.publication.suspects.forget(self)
        self._trial = Trial(BLAMED_ENDS - 1)
        self.line = self.publication.own_line(self, None)

    def fall_due(self, left_out: int) -> None:
        """Publish, or count that it could not be."""
        self.counts.missed += left_out
        if self._trial is not None:
            self._wait_no_longer(self._trial, time.monotonic())
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
        if self._trial is not None:
            self._hold(self._trial, now)
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
            self._carried()

    def _carried(self) -> None:
        """Hear that the broker has taken it; if it was suspected, return to the others."""
        if self._trial is not None and self._trial.carried() and self.apart:
            self._rejoin()

    def _rejoin(self) -> None:
        self.line.leave()
        self.line, self._trial = self.publication.shared, None
        self._refused = False

    def _wait_no_longer(self, trial: Trial, now: float) -> None:
        shared = self.publication.shared
        if not self.config.qos and trial.unanswered(now):
            self._carried()
        elif self.apart and not self.line.since and shared.open and now > shared.since + ANSWER_SECONDS:
            self._rejoin()  # the broker, or this machine, allows no further connection

    def _hold(self, trial: Trial, now: float) -> None:
        shared = self.publication.shared
        if not self.line.open:
            trial.ended(now)
        elif trial.reopened(shared.since if shared.open else None):
            self._refused = True
            self.publication.retained.refused(self.config.topic)
            logger.warning(
                'The broker ends the connection whenever "%s" is published on %s: does it take its size, its retain '
                "flag and its topic? It has a connection of its own, and the others are not disturbed",
                self.config.id,
                self.config.topic,
            )

    def _publish(self) -> None:
        self.counts.published += 1
        self.counts.last = time.time()
        self.line.publish(self._message, self)
        if self.config.retain and not self._refused:
            self.publication.retained.published(self.config.topic)
        if self.line is self.publication.shared:
            self.publication.suspects.published(self, time.monotonic(), confirmed_later=self.config.qos > 0)
        elif self._trial is not None:
            self._trial.published(time.monotonic())


class Publication:
    """All entries."""

    def __init__(
        self, connections: MQTTConnectionManager, statistics: Statistics, publisher_id: str, retained: Retained
    ) -> None:
        self._connections = connections
        self.retained = retained
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
        self.retained.want(config.topic for config in wanted.values() if config.retain)
        ended = [entry for name, entry in self.entries.items() if wanted.get(name) != entry.config]
        for entry in ended:
            del self.entries[entry.config.id]
        new = [config for name, config in wanted.items() if name not in self.entries]
        heirs = Counter(config.topic for config in new if config.lwt)
        lines: dict[str, list[Line]] = {}
        for entry in ended:
            topic = entry.config.topic
            if line := entry.end(inherited=heirs[topic] > 0):
                heirs[topic] -= 1
                lines.setdefault(topic, []).append(line)
            if entry.config.id not in wanted:
                self._statistics.forget(entry.config.id)
        for config in new:
            before = lines[config.topic].pop() if config.lwt and lines.get(config.topic) else None
            self.entries[config.id] = Entry(config, self._statistics.of(config.id), self, before)

    def has(self, entry: Entry) -> bool:
        """Whether an entry has not ended."""
        return self.entries.get(entry.config.id) is entry

    def line(self, entry: Entry, before: Line | None) -> Line:
        """The line of a new entry: one of its own if it has a will; the one before it on this topic is known."""
        config = entry.config
        if config.lwt:
            self.untried.add(entry)
            return self.own_line(entry, Message(config.topic, config.offline, config.qos, config.retain), before)
        self._waiting.append(entry)
        return self.shared

    def own_line(self, entry: Entry, will: Message | None, before: Line | None = None) -> Line:
        """A line that an entry has for itself."""
        client_ids = self._client_ids(entry.config)
        if before is not None and not before.open:
            # The broker may think it alive: who comes with its client id ends it, and its will is not the last word.
            before.leave(silently=True)
            client_ids = itertools.chain([before.client_id], client_ids)
        return self._connections.line(entry, client_ids, will)

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
        self.retained.clear(self.shared, BATCH)
        for entry, left_out in self.schedule.due(time.monotonic(), BATCH):
            entry.fall_due(left_out)
        wait = self.schedule.wait(time.monotonic())
        longest = UNTRIED_SECONDS if self._waiting or self.untried else SPREAD_SECONDS
        return longest if wait is None else min(wait, longest)

    def _move_suspects_apart(self) -> None:
        suspects = self.suspects.connection_ended(time.monotonic())
        first = [entry for entry in suspects if entry.config.qos][:FEW]
        last = [entry for entry in suspects if not entry.config.qos][-FEW:]
        apart = sum(entry.apart for entry in self.entries.values())
        for entry in (first + last)[: MOST_APART - apart]:
            entry.move_apart()

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
