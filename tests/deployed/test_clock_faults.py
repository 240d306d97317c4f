"""A clock that is set while messages come, and floods of retained ones: nothing is lost, nothing invented."""

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.faults import EACH_DATABASE, Plant, plant
from tests.live import at_broker, serving
from tests.support import PROJECT, BackendProcess, Mosquitto, publishing, wait_for

pytestmark = pytest.mark.process

STEERED = f"""
import datetime, pathlib, runpy, sys
sys.path.insert(0, {str(PROJECT)!r})
from utils import clock
right, offset = clock.now, pathlib.Path("offset")
clock.now = lambda: right() + datetime.timedelta(seconds=float(offset.read_text() or 0))
runpy.run_module("ingest", run_name="__main__")
"""
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


@pytest.mark.parametrize(
    ("messages", "steps"),
    [
        pytest.param(900, [HOUR, timedelta(0), -HOUR], id="short"),
        pytest.param(
            6_000,
            [HOUR, timedelta(0), -HOUR, YEAR, -YEAR, timedelta(0)] * 2,
            marks=pytest.mark.chaos,
        ),
    ],
)
@pytest.mark.parametrize(
    "database_url",
    ["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.chaos)],
    indirect=True,
)
def test_a_clock_that_is_set_loses_and_doubles_nothing(
    tmp_path: Path,
    mosquitto: Mosquitto,
    database_url: str,
    request: pytest.FixtureRequest,
    messages: int,
    steps: list[timedelta],
) -> None:
    made = plant(tmp_path, mosquitto, database_url, request)
    made.ingester.command = [sys.executable, "-c", STEERED]
    _set(made, timedelta(0))
    made.start()
    wait_for(
        lambda: "Subscribed" in made.ingester.console.read_text(), what="the first subscription"
    )
    for step in steps:
        _set(made, step)
        before = made.published
        made.publish(messages // len(steps))()
        made.wait_until_stored(made.published)
        assert {_dated(moment, step) for moment in _undated_after(made, before)} == {"now"}
    made.assert_everything_is_stored_once()


def _set(made: Plant, ahead: timedelta) -> None:
    (made.ingester.folder / "offset").write_text(str(ahead.total_seconds()))


def _undated_after(made: Plant, number: int) -> list[datetime]:
    """The times of the readings without one of their own, of messages from this number on."""
    query = text("SELECT timestamp FROM gauge_readings WHERE level >= :number")
    with made.engine.connect() as connection:
        found = connection.execute(query, {"number": number}).scalars().all()
    return [datetime.fromisoformat(str(moment)) for moment in found]


def _dated(moment: datetime, ahead: timedelta) -> str:
    """Whether a time is the server's present one, as its clock is set."""
    off = moment - (datetime.now(UTC).replace(tzinfo=None) + ahead)
    return "now" if abs(off) < timedelta(minutes=10) else f"off by {off}"


@EACH_DATABASE
@pytest.mark.parametrize(
    ("topics", "starts"),
    [pytest.param(300, 2, id="short"), pytest.param(20_000, 5, marks=pytest.mark.chaos)],
)
def test_a_flood_of_retained_messages_makes_no_reading_at_any_start(
    tmp_path: Path, mosquitto: Mosquitto, database_url: str, topics: int, starts: int
) -> None:
    with publishing(mosquitto.port, wait=False) as publish:
        for number in range(topics):
            publish(f"panel/old{number}/volt", str(number), retain=True)
    made = at_broker(tmp_path / "backend", mosquitto, DATABASE_URL=database_url)
    with serving(made) as backend:
        for start in range(1, starts + 1):
            wait_for(
                partial(_has_ignored, backend, start * topics),
                seconds=120,
                what="the retained messages",
            )
            with publishing(mosquitto.port) as publish:
                publish(f"panel/new{start}/volt", "230")
            wait_for(partial(_has_stored, backend, f"new{start}"), what="a reading that is new")
            assert backend.get("/api/panels/stats")[1]["stats"]["count"] == start
            backend.stop()
            backend.start()


def _has_ignored(backend: BackendProcess, count: int) -> bool:
    health = backend.answers() or {}
    return int(health.get("mqtt", {}).get("ignored", 0)) >= count


def _has_stored(backend: BackendProcess, device_id: str) -> bool:
    return backend.get(f"/api/panels/latest?device_id={device_id}")[0] == 200
