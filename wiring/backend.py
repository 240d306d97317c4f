"""The `Backend`: the parts of a process, by its role."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import queries.installation
from broker.notifier import ChangeSet, Notifier
from config import Settings
from database import Database, Unavailable
from ingest.audit import AuditTrail
from ingest.counting import Source
from ingest.ingester import Ingester
from ingest.pipeline import Listeners, Pipeline
from ingest.process_heartbeat import ProcessHeartbeat
from ingest.read_back import unwritable
from ingest.redelivery import RecentDeliveries
from ingest.rejected import RejectedLimits
from jobs.job import Job
from jobs.worker import JobWorker
from services.analyses import Analyses
from services.commands import Expiry
from streams import declaration
from utils.process import share_heaps
from wiring.pipelines import new_pipeline

TABLES_SECONDS = 10
MAX_HELD, LIVE_HELD = 200, 300
"""Requests that may wait at once in one process; each holds a thread of its server."""
RoleName = Literal["all", "rest", "live", "ingest"]


class Role(NamedTuple):
    """The role of a process."""

    ingests: bool
    """Whether it tries to take the leases; while it holds one, it ingests or runs the jobs."""
    sockets: bool = False
    """Whether it serves Socket.IO."""
    most_held: int = MAX_HELD
    """Requests that may wait at once."""


ROLES: dict[RoleName, Role] = {
    "all": Role(ingests=True, sockets=True),
    # Without a process of the role `ingest`, a process that answers requests must ingest.
    "rest": Role(ingests=True),
    # Socket.IO needs one process for all requests of a client.
    "live": Role(ingests=False, sockets=True, most_held=LIVE_HELD),
    "ingest": Role(ingests=True),
}


class Part(NamedTuple):
    """A part that is started and stopped with the process."""

    start: Callable[[], None]
    stop: Callable[[], None]


class Backend:
    """The parts that processes of every role have; with the role `ingest`, there are no others.

    Nothing connects or runs before `start`. Raises StreamError, SettingsError.
    """

    def __init__(self, settings: Settings, role: RoleName = "ingest") -> None:
        self.settings = settings
        self.role = ROLES[role]
        self.streams = declaration.declared(settings, unwritable)
        self.database = Database(settings.url, self.streams)
        self.notifier = Notifier(settings, partial(notices_topic, self.database))
        self.trail = AuditTrail(settings, self.streams)
        heartbeat = ProcessHeartbeat(self.database)
        self.parts = [
            Part(heartbeat.start, heartbeat.stop),
            Part(self.notifier.start, self.notifier.stop),
        ]
        """The parts in the order of their start; they stop in reverse order."""
        if self.role.ingests:
            self.parts.append(self._jobs())
            own = self.pipeline("mqtt", self.notifier.notify)
            ingester = Ingester(settings, self.database, self.streams, own)
            self.parts.append(Part(ingester.start, ingester.stop))

    def start(self, ended: threading.Event | None = None) -> None:
        """Start all parts; return when the tables exist, after ten seconds, or once `ended`."""
        share_heaps()
        for part in self.parts:
            part.start()
        self.database.wait_until_prepared(TABLES_SECONDS, ended or threading.Event())

    def pipeline(
        self,
        source: Source,
        notify: Callable[[ChangeSet], None],
        recent: RecentDeliveries | None = None,
    ) -> Pipeline:
        """Return a new pipeline that records its outcomes in the audit trail."""
        return new_pipeline(
            self.database,
            self.streams,
            source,
            Listeners(notify, self.trail.recorder(source)),
            limits=RejectedLimits.of(self.settings),
            earliest=self.settings.earliest_time,
            recent=recent,
        )

    def _jobs(self) -> Part:
        jobs: list[Job] = [
            Expiry(self.database, self.notifier.notify),
            Analyses(self.settings, self.database, self.streams),
        ]
        worker = JobWorker(self.database, jobs)
        self.notifier.subscribe(worker.on_change)
        return Part(worker.start, worker.stop)

    def stop(self) -> None:
        """Stop all parts, after what was received is committed and acknowledged."""
        self.database.stop_preparing()
        for part in reversed(self.parts):
            part.stop()
        self.database.close()


def check(settings: Settings) -> None:
    """Raise StreamError or SettingsError if no backend can be built with these settings."""
    Database(settings.url, declaration.declared(settings, unwritable)).close()


def notices_topic(database: Database) -> str | None:
    """Return the topic of the change notifications, or None if the database is unavailable."""
    try:
        with database.read() as reader:
            return queries.installation.notices_topic(reader)
    except Unavailable:
        return None
