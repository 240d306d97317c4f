"""The worker: jobs run in one process, again and again, and one that fails stops no other."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
from sqlalchemy import Connection

import queries.jobs
from broker.notifier import ChangeSet
from config import Settings
from database import Database, Unavailable
from jobs.job import Job
from jobs.worker import JobWorker
from services import status
from tests.support import wait_for
from utils import clock


class Counted(Job):
    """Counts its runs; an error of a test is raised instead."""

    name: ClassVar[str] = "counted"
    interval: ClassVar[float] = 3600.0

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.runs = 0
        self.left = self.closed = False
        self.threads: set[str] = set()

    def run(self, connection: Connection) -> None:
        self.threads.add(threading.current_thread().name)
        self.runs += 1
        if self.error is not None:
            raise self.error

    def waits_for(self, news: ChangeSet) -> bool:
        return bool(news.commands)

    def leave(self) -> None:
        self.left = True

    def close(self) -> None:
        self.closed = True


class Often(Counted):
    name: ClassVar[str] = "often"
    interval: ClassVar[float] = 0.1


@contextmanager
def working(database: Database, *jobs: Job) -> Iterator[JobWorker]:
    made = JobWorker(database, jobs)
    made.start()
    yield made
    made.stop()


def states(database: Database) -> dict[str, str | None]:
    with database.read() as reader:
        return {row["name"]: row["error"] for row in queries.jobs.states(reader)}


def test_a_job_runs_at_the_start_and_after_its_interval(sqlite: Database) -> None:
    seldom, often = Counted(), Often()
    with working(sqlite, seldom, often):
        wait_for(lambda: often.runs >= 3, what="three runs")
        assert seldom.runs == 1
    assert (seldom.closed, often.threads) == (True, {"jobs"})


def test_a_change_that_a_job_waits_for_makes_it_run_at_once(sqlite: Database) -> None:
    job = Counted()
    with working(sqlite, job) as worker:
        wait_for(lambda: job.runs == 1, what="the first run")
        worker.on_change(ChangeSet(devices=["d"]))
        worker.on_change(ChangeSet(commands=["c"]))
        wait_for(lambda: job.runs == 2, what="the second run")


def test_one_worker_runs_the_jobs_and_another_takes_over(database: Database) -> None:
    first, second = Often(), Often()
    with working(database, second) as waiting:
        wait_for(lambda: second.runs > 0, what="the first worker")
        with working(database, first):
            wait_for(lambda: first.left, what="the second worker to stand by")
            waiting.stop()
            wait_for(lambda: first.runs > 0, what="the second worker to take over")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable("it is locked"), "it is locked"),
        (ValueError("a bug"), "the job failed; see the log"),
    ],
    ids=["expected", "a bug"],
)
def test_a_job_that_fails_is_told_and_stops_no_other(
    sqlite: Database, settings: Callable[..., Settings], error: Exception, told: str
) -> None:
    failing, often = Counted(error), Often()
    with working(sqlite, failing, often) as worker:
        wait_for(lambda: often.runs >= 2, what="the other job")
        wait_for(lambda: states(sqlite) == {"counted": told, "often": None}, what="the states")
        (state, _) = status.health(settings(), sqlite)["jobs"]
        assert (state["name"], state["error"]) == ("counted", told)
        assert state["failing_since"] == state["ran_at"]
        failing.error = None
        worker.on_change(ChangeSet(commands=["c"]))
        wait_for(lambda: states(sqlite)["counted"] is None, what="its recovery")


def test_health_is_degraded_by_a_job_that_has_failed_for_a_minute(
    sqlite: Database, settings: Callable[..., Settings]
) -> None:
    report = queries.jobs.JobReport(
        "retention", "host:1", clock.now() - 2 * status.FAILING, "the disk is full"
    )
    with sqlite.write() as connection, sqlite.transaction(connection):
        queries.jobs.report(connection, report)
        queries.jobs.report(connection, report._replace(ran_at=clock.now()))
    assert (
        "The job retention fails: the disk is full" in status.health(settings(), sqlite)["message"]
    )
