"""The worker: a thread that runs the jobs in the process that holds the lease."""

import logging
import threading
import time
from collections.abc import Sequence

from sqlalchemy import Connection

import queries.jobs
from broker.notifier import ChangeSet
from broker.publisher import PublishError
from database import Database, Unavailable
from jobs.job import Job
from jobs.lease import Lease
from queries.jobs import JobReport
from utils import clock
from utils.logger import Throttle
from utils.process import own_name

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
"""How often the lease is confirmed, so that another process takes over this soon."""
PAUSE_SECONDS = 0.1
"""The pause after a turn, so that many changes per second cause one turn."""
REPORT_SECONDS = 60.0
"""How often an unchanged result of a job is written to the database."""
STOP_SECONDS = 10.0


class JobWorker:
    """Runs jobs while it holds the lease; a failing job does not stop the others."""

    def __init__(self, database: Database, jobs: Sequence[Job]) -> None:
        self._database = database
        self._jobs = jobs
        self._lease = Lease(database, "jobs")
        self._holds = False
        self._due_at = dict.fromkeys((job.name for job in jobs), 0.0)
        # The error last written to the database, and when to write it again, by job.
        self._reported: dict[str, tuple[str | None, float]] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._throttle = Throttle(seconds=60)
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close the jobs and end the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def on_change(self, changes: ChangeSet) -> None:
        """Make the jobs that wait for these changes due at once."""
        woken = [job.name for job in self._jobs if job.waits_for(changes)]
        for name in woken:
            self._due_at[name] = 0.0
        if woken:
            self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except (Unavailable, PublishError) as error:
                self._throttle.warn(logger, "turn", f"The jobs are waiting: {error}")
                self._stop.wait(POLL_SECONDS)
            self._stop.wait(PAUSE_SECONDS)
            self._wake.wait(self._seconds_to_next())
            self._wake.clear()
        for job in self._jobs:
            job.close()
        self._lease.release()

    def _seconds_to_next(self) -> float:
        due_in = min(self._due_at.values()) - time.monotonic() if self._holds else POLL_SECONDS
        return max(0.0, min(due_in, POLL_SECONDS))

    def _turn(self) -> None:
        held, self._holds = self._holds, self._confirmed()
        if self._holds and not held:
            logger.info("This process now runs the jobs: %s", ", ".join(self._due_at))
            self._reported.clear()
        for job in self._jobs:
            if not self._holds:
                job.leave()
            elif self._due_at[job.name] <= time.monotonic():
                self._due_at[job.name] = time.monotonic() + job.interval
                self._report(job, self._error_of(job))

    def _confirmed(self) -> bool:
        try:
            return self._lease.confirm()
        except Unavailable:
            for job in self._jobs:
                job.without_database()
            raise

    def _error_of(self, job: Job) -> str | None:
        """Run a job; return why it failed, or None."""
        try:
            job.run(self._lease.connection)
        except (Unavailable, PublishError) as error:
            self._throttle.warn(logger, job.name, f"The job {job.name} is waiting: {error}")
            return str(error)
        except Exception:
            logger.exception("The job %s failed and will be retried", job.name)
            return "the job failed; see the log"
        return None

    def _report(self, job: Job, error: str | None) -> None:
        now = time.monotonic()
        reported, again_at = self._reported.get(job.name, ("", 0.0))
        if reported == error and now < again_at:
            return
        report = JobReport(job.name, own_name(), clock.now(), error)
        self._write(self._lease.connection, report)
        self._reported[job.name] = error, now + REPORT_SECONDS

    def _write(self, connection: Connection, report: JobReport) -> None:
        with self._database.transaction(connection):
            queries.jobs.report(connection, report)
