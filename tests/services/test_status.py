"""The figures of /api/health."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update

from config import Settings
from database import Database
from ingest.process_heartbeat import ProcessHeartbeat
from models import IngestStatus, Process
from services import status
from services.status import _seconds_since
from utils import clock

AGES = [
    (0, True),
    (-5, True),
    (-60, False),
    (5, True),
    (60, False),
    (3_600, False),
    (31_536_000, False),
]
"""How many seconds a heartbeat is ahead of now, and whether that may be of a process that runs."""


@pytest.mark.parametrize(
    ("ago", "seconds"), [(5.0, 5), (0.0, 0), (-3_600.0, 0), (-31_536_000.0, 0)]
)
def test_the_uptime_is_never_negative_also_after_the_clock_was_set_back(
    ago: float, seconds: int
) -> None:
    told = _seconds_since(clock.now() - timedelta(seconds=ago))
    assert told is not None
    assert seconds <= told < seconds + 1


def test_there_is_no_uptime_of_what_never_began() -> None:
    assert _seconds_since(None) is None


@pytest.mark.parametrize(("ahead", "runs"), AGES)
def test_an_ingester_that_died_while_its_clock_was_ahead_does_not_look_alive(
    settings: Callable[..., Settings], database: Database, ahead: int, runs: bool
) -> None:
    beat = clock.now() + timedelta(seconds=ahead)
    values = {
        "holder": "host:1",
        "heartbeat_at": beat,
        "connected": True,
        "subscribed": True,
        "changed_at": beat,
    }
    with database.write() as connection, database.transaction(connection):
        connection.execute(update(IngestStatus).where(IngestStatus.source == "mqtt").values(values))
    health = status.health(settings(), database)
    mqtt = health["mqtt"]
    assert (mqtt["running"], mqtt["connected"], mqtt["subscribed"]) == (runs, runs, runs)
    if not runs:
        assert (health["status"], health["message"]) == ("degraded", "MQTT: no process ingests")
        assert mqtt["since"] == (None if ahead > 0 else clock.rfc3339(beat))


@pytest.mark.parametrize(("ahead", "runs"), AGES)
def test_a_process_that_died_while_its_clock_was_ahead_is_forgotten(
    settings: Callable[..., Settings], database: Database, ahead: int, runs: bool
) -> None:
    beat = clock.now() + timedelta(seconds=ahead)
    with database.write() as connection, database.transaction(connection):
        connection.execute(
            insert(Process).values(name="theirs:1", declarations="theirs", heartbeat_at=beat)
        )
    assert ("theirs:1" in status.health(settings(), database)["streams"]["processes"]) is runs
    mine = ProcessHeartbeat(database)
    mine._write(leaving=False)
    with database.write() as connection:
        assert connection.scalar(select(func.count()).select_from(Process)) == 1 + runs
    mine._write(leaving=True)
