"""A run: from when a process begins to publish a file until it ends; what it does, and how it goes."""

import logging
import secrets
import time
from collections.abc import Sequence

from config import Settings
from publisher.connections import MQTTConnectionManager
from publisher.entries import PublishConfig
from publisher.publication import Entry, Publication
from publisher.retained import Retained
from publisher.statistics import Statistics
from publisher.status import EntryStatus, Progress, Status, Totals
from utils import clock
from utils.descriptors import allow

logger = logging.getLogger(__name__)
NOBODY = "no process publishes it"


class Run:
    """Connects and publishes; goes on from the statistics that were saved. Raises SettingsError."""

    def __init__(self, settings: Settings, saved: Status | None, configs: Sequence[PublishConfig]) -> None:
        self.connections = MQTTConnectionManager(settings)
        self._statistics = Statistics()
        if saved is not None:
            self._statistics.restore(saved)
        self._publisher_id = secrets.token_hex(8) if saved is None else saved["publisher_id"]
        self._retained = Retained(() if saved is None else saved["retained"])
        self._publication = Publication(self.connections, self._statistics, self._publisher_id, self._retained)
        self._started = clock.now()
        self._begun = time.monotonic()
        # Before its thread runs, which may be held up by a broker that does not answer.
        _allow_wills(configs)
        self._publication.apply(configs)
        self.connections.start(self._publication.turn)

    @property
    def alive(self) -> bool:
        """Whether it can still publish."""
        return self.connections.alive

    def apply(self, configs: Sequence[PublishConfig]) -> None:
        """Publish these and no others."""
        _allow_wills(configs)
        self.connections.hand_over(lambda: self._publication.apply(configs))

    @property
    def problem(self) -> str | None:
        """Why not all is connected, or None."""
        opened, needed = self._lines()
        if not self.alive:
            return "its thread has ended; the log says why"
        return None if opened == needed else self.connections.problem or "not all connections are open yet"

    def status(self) -> Progress:
        """The connection, and the counts in total and per entry, as JSON."""
        opened, needed = self._lines()
        problem = self.problem
        # The counting goes on: what was published when it connected is counted, and the total is no less than the sum.
        entries = [_entry_status(entry) for entry in list(self._publication.entries.values())]
        totals = self._totals()
        return {
            "connected": problem is None,
            "problem": problem,
            "connections": {"open": opened, "needed": needed},
            "publisher_id": self._publisher_id,
            "retained": self._retained.topics(),
            "statistics": totals,
            "configs": entries,
        }

    def _lines(self) -> tuple[int, int]:
        """How many connections are open, and how many are needed."""
        lines = {self.connections.shared} | {entry.line for entry in list(self._publication.entries.values())}
        return sum(line.open for line in lines), len(lines)

    def _totals(self) -> Totals:
        totals = _totals(self._statistics)
        totals["uptime_seconds"] = round(time.monotonic() - self._begun, 3)
        totals["started_at"] = clock.rfc3339(self._started)
        return totals


def _entry_status(entry: Entry) -> EntryStatus:
    config = entry.config
    return {**entry.counts.document(), "id": config.id, "topic": config.topic, "connected": entry.line.open}


def _allow_wills(configs: Sequence[PublishConfig]) -> None:
    wills = sum(config.lwt for config in configs)
    if fault := allow(wills + 1):
        logger.error("%d last wills, each with a connection of its own: %s; the rest waits", wills, fault)


def nothing_run() -> Progress:
    """What there is to tell where nothing runs and nothing was saved."""
    return {
        "connected": False,
        "problem": NOBODY,
        "connections": {"open": 0, "needed": 0},
        "publisher_id": "",
        "retained": [],
        "statistics": _totals(Statistics()),
        "configs": [],
    }


def _totals(statistics: Statistics) -> Totals:
    counts = statistics.total().document()
    return {
        "total_published": counts["published"],
        "total_acknowledged": counts["acknowledged"],
        "total_failed": counts["failed"],
        "total_missed": counts["missed"],
        "total_errors": counts["failed"],
        "last_published_at": counts["last_published_at"],
        "uptime_seconds": 0.0,
        "started_at": None,
        "saved_at": clock.rfc3339(clock.now()),
    }
