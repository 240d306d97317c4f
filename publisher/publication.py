"""The publication: each entry at its own times, all in the thread of the connections."""

import itertools
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from broker.connection_thread import ConnectionThread
from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery, TrackedConnection
from config import Settings
from publisher.entries import PublishConfig
from publisher.retained import Retained
from publisher.schedule import Appointment, Schedule
from publisher.statistics import MessageCounter, Statistics
from publisher.status import ConnectionCounts, EntryStatus, PublicationStatus, PublisherStatus
from utils import clock
from utils.descriptors import allow

logger = logging.getLogger(__name__)
BATCH = 200  # messages that are published in one turn of the loop
SPREAD_SECONDS = 1.0
UNTRIED_SECONDS = 0.05  # how often to check whether waiting entries can begin


class ScheduledEntry:
    """Publishes one entry when it is due, unless its connection has no room."""

    __slots__ = ("_appointment", "_message", "config", "connection", "counts", "publication")

    def __init__(
        self, config: PublishConfig, counts: MessageCounter, publication: "Publication"
    ) -> None:
        self.config = config
        self.counts = counts
        self.publication = publication
        self._message = Outgoing(config.topic, config.payload, config.qos, config.retain)
        self._appointment: Appointment[ScheduledEntry] | None = None
        self.connection = publication.connection_of(self)

    @property
    def name(self) -> str:
        """The name in the log."""
        return self.config.id

    def begin(self, first: float) -> None:
        """Schedule the entry from a time on."""
        self.publication.untried.discard(self)
        self._appointment = self.publication.schedule.add(self, first, self.config.interval)

    def end(self, *, silently: bool) -> None:
        """Remove the entry from the schedule; publish the will, unless silently."""
        self.publication.untried.discard(self)
        if self._appointment is not None:
            self.publication.schedule.cancel(self._appointment)
        if self.config.lwt:
            self.publication.disconnects[self.config.topic] += not self.connection.frees_id
            # On another connection the clearing message could overtake this one's last messages.
            retained, opened = self.publication.retained, self.connection.open
            last = retained.last_of(self.config.topic) if opened else None
            self.connection.leave(silently=silently, last=last)

    def fall_due(self, left_out: int) -> None:
        """Publish, or count a missed message."""
        room = self.connection.room
        if missed := left_out + (not room):
            self.counts.on_miss(missed)
        if room:
            self._publish()

    def on_connection(self) -> None:
        """Publish at once when the own connection opens: the broker may have published the will."""
        if not self.publication.has(self):
            self.connection.leave(silently=True)
            return
        now = time.monotonic()
        if self.connection.open:
            self._publish()
        if self._appointment is None:
            self.begin(now + self.config.interval if self.connection.open else now)

    def on_delivery(self, delivery: Delivery) -> None:
        """Count the outcome of a message."""
        self.counts.on_delivery(delivery)

    def _publish(self) -> None:
        self.counts.on_publish(time.time())
        self.connection.publish(self._message, self)
        if self.config.retain:
            self.publication.retained.published(self.config.topic)


class Publication:
    """All entries of a file, from a saved status on. Raises SettingsError."""

    def __init__(self, settings: Settings, saved: PublisherStatus | None) -> None:
        self.connections = ConnectionThread(settings)
        self.statistics = Statistics(saved)
        self.retained = Retained(() if saved is None else saved["retained"])
        self._publisher_id = secrets.token_hex(8) if saved is None else saved["publisher_id"]
        self._started, self._begun = clock.now(), time.monotonic()
        self.schedule: Schedule[ScheduledEntry] = Schedule()
        self.entries: dict[str, ScheduledEntry] = {}
        # Entries that begin when it is known whether the shared connection can be opened.
        self._waiting: list[ScheduledEntry] = []
        # Entries that begin when their own connection has opened, or the broker is away.
        self.untried: set[ScheduledEntry] = set()
        # By topic, how many connections have left; the next one takes another client id.
        self.disconnects: Counter[str] = Counter()

    def start(self, configs: Sequence[PublishConfig]) -> None:
        """Connect, and publish these entries."""
        _allow_connections(configs)
        # Before the thread runs, which a broker that does not answer may delay.
        self._apply(configs)
        self.connections.start(self._turn)

    def apply(self, configs: Sequence[PublishConfig]) -> None:
        """Publish these entries and no others."""
        _allow_connections(configs)
        self.connections.call_soon(lambda: self._apply(configs))

    @property
    def problem(self) -> str | None:
        """Why not all connections are open, or None."""
        if not self.connections.alive:
            return "its thread has ended; the log says why"
        counts = self._connection_counts()
        if counts["open"] == counts["needed"]:
            return None
        return self.connections.problem or "not all connections are open yet"

    def progress(self) -> PublicationStatus:
        """Return the state of the connections, and the counts in total and per entry."""
        problem = self.problem
        # The thread counts meanwhile. In this order, messages published on connecting are included,
        # and the total is at least the sum of the entries.
        entries = [_status(entry) for entry in list(self.entries.values())]
        uptime = time.monotonic() - self._begun
        return {
            "connected": problem is None,
            "problem": problem,
            "connections": self._connection_counts(),
            "publisher_id": self._publisher_id,
            "retained": self.retained.topics(),
            "statistics": self.statistics.totals(self._started, uptime),
            "configs": entries,
        }

    def has(self, entry: ScheduledEntry) -> bool:
        """Whether an entry has not ended."""
        return self.entries.get(entry.config.id) is entry

    def connection_of(self, entry: ScheduledEntry) -> TrackedConnection:
        """Return the connection of a new entry: its own for a will, otherwise the shared one."""
        config = entry.config
        if not config.lwt:
            self._waiting.append(entry)
            return self.connections.shared
        self.untried.add(entry)
        will = Outgoing(config.topic, config.offline, config.qos, config.retain)
        return self.connections.own(entry, self._client_ids(config.topic), will)

    def _apply(self, configs: Sequence[PublishConfig]) -> None:
        """Replace what has changed; other entries keep their times, connections and counts."""
        wanted = {config.id: config for config in configs}
        self.retained.want(config.topic for config in wanted.values() if config.retain)
        ended = [entry for name, entry in self.entries.items() if wanted.get(name) != entry.config]
        for entry in ended:
            del self.entries[entry.config.id]
        new = [config for name, config in wanted.items() if name not in self.entries]
        # A new entry that takes over topic and will must not appear offline in between.
        online = {config.topic for config in new if config.lwt}
        for entry in ended:
            entry.end(silently=entry.config.topic in online)
            if entry.config.id not in wanted:
                self.statistics.forget(entry.config.id)
        for config in new:
            self.entries[config.id] = ScheduledEntry(config, self.statistics.of(config.id), self)

    def _connection_counts(self) -> ConnectionCounts:
        entries = list(self.entries.values())
        needed = {self.connections.shared} | {entry.connection for entry in entries}
        return {"open": sum(connection.open for connection in needed), "needed": len(needed)}

    def _turn(self) -> float:
        """Publish the due entries; return the seconds until the next one."""
        shared = self.connections.shared
        if self._waiting and shared.tried:
            self._begin_waiting()
        if self.untried and self.connections.problem:
            # While the broker is away they are dialed one by one, and count missed messages.
            for entry in list(self.untried):
                entry.begin(time.monotonic())
        self.retained.clear(shared, BATCH)
        for entry, left_out in self.schedule.due(time.monotonic(), BATCH):
            entry.fall_due(left_out)
        wait = self.schedule.wait(time.monotonic())
        longest = UNTRIED_SECONDS if self._waiting or self.untried else SPREAD_SECONDS
        return longest if wait is None else min(wait, longest)

    def _begin_waiting(self) -> None:
        """Spread the first times, because simultaneous messages delay each other."""
        now = time.monotonic()
        waiting = list(filter(self.has, self._waiting))
        random.shuffle(waiting)  # entries of one interval may be neighbours in the file
        for number, entry in enumerate(waiting):
            spread = min(entry.config.interval, SPREAD_SECONDS)
            entry.begin(now + spread * number / len(waiting))
        self._waiting.clear()

    def _client_ids(self, topic: str) -> Iterator[str]:
        """Yield client ids: the same after a reconnect or restart, others after a DISCONNECT."""
        # A broker that has not noticed a dead connection ends it, and publishes its will, when a
        # client connects with the same id. With another id the will would come later and be final.
        # After a DISCONNECT, the next client may connect before the broker has read it.
        for number in itertools.count(self.disconnects[topic]):
            known = f"{self._publisher_id} {number} {topic}".encode()
            yield blake2b(known, digest_size=11).hexdigest()  # as long as every broker accepts


def _allow_connections(configs: Sequence[PublishConfig]) -> None:
    wills = sum(config.lwt for config in configs)
    if error := allow(wills + 1):
        logger.error("%d wills, each with its own connection: %s; the rest waits", wills, error)


def _status(entry: ScheduledEntry) -> EntryStatus:
    config, counts = entry.config, entry.counts.as_json()
    return {**counts, "id": config.id, "topic": config.topic, "connected": entry.connection.open}
