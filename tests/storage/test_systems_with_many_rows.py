"""The three systems with 100,000 readings each: every path answers, and the figures are those worked out by hand."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from config import Settings
from database import Database
from models import StreamState
from storage.dialect import Row
from tests.api import Api, running

pytestmark = pytest.mark.long

ROWS = 100_000
START = datetime(2025, 3, 1)
CYCLE = [*["Running"] * 6, *["Idle"] * 3, "Stopped"]
"""States of ten seconds each: six tenths of the time it runs."""
GOOD_SOIL = (22.5, 17.5, 150.0, 500.0, 20.0, 50.0, 7.0)
"""In the middle of every ideal band."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("full")
    settings = Settings(
        _env_file=None, database_url=f"sqlite:///{folder}/test.db", log_file=folder / "log"
    )
    with running(settings) as api:
        database = api.app.extensions["autoforge"].database
        fill(database, "machines", [machine(number) for number in range(ROWS)])
        fill(database, "panels", [panel(number) for number in range(ROWS)])
        fill(database, "soil", [soil(number) for number in range(ROWS)])
        # As if a version that kept neither devices nor newest values had written them.
        with database.write() as connection, database.transaction(connection):
            connection.execute(delete(StreamState))
        database.prepare()
        yield api


def fill(database: Database, stream: str, rows: Sequence[Row]) -> None:
    for place in range(0, ROWS, 10_000):
        with database.write() as connection, database.transaction(connection):
            part = rows[place : place + 10_000]
            written = database.write_batch(connection, database.tables[stream], part, START)
        assert written.stored == len(part)


def machine(number: int) -> Row:
    """One every ten seconds, for 1,000,000 seconds."""
    moment = START + timedelta(seconds=10 * number)
    state = CYCLE[number % 10]
    return (
        "C_FL104",
        moment,
        None,
        state,
        80.0,
        90.0,
        "1.0",
        float(number),
        None,
        2.0,
        0.0,
        number,
    )


def panel(number: int) -> Row:
    """1 kW, every minute, for 69 days, 10 hours and 40 minutes."""
    return ("trafo1", START + timedelta(minutes=number), None, None, None, 1000.0, None, number)


def soil(number: int) -> Row:
    return ("probe", START + timedelta(minutes=number), None, *GOOD_SOIL, number)


@pytest.mark.database
def test_the_effectiveness_is_by_time(full: Api) -> None:
    end = START + timedelta(seconds=10 * (ROWS - 1))
    figures = full.get(
        "/api/machines/oee", device_id="C_FL104", from_=START.isoformat(), to=end.isoformat()
    )
    # 99,999 stretches of ten seconds: 9,999 cycles with 6 running, and 6 more of the 9 stretches that are left.
    running_seconds = 10 * (9_999 * 6 + 6)
    assert figures["seconds"] == {
        "window": 999_990.0,
        "known": 999_990.0,
        "running": running_seconds,
    }
    # 600,000 / 999,990 = 60.00 %; 0.6000 · 0.80 · 0.90 = 43.20 %
    assert (figures["availability"], figures["performance"], figures["quality"]) == (
        60.0,
        80.0,
        90.0,
    )
    assert (figures["oee"], figures["coverage"]) == (43.2, 100.0)


@pytest.mark.database
def test_the_energy_of_1_kilowatt_is_the_hours_of_each_day(full: Api) -> None:
    window: dict[str, Any] = {
        "device_id": "trafo1",
        "from_": "2025-03-28T23:00:00Z",
        "to": "2025-03-31T22:00:00Z",
    }
    figures = full.get("/api/panels/energy", **window, interval="day", tz="Europe/Berlin")
    # On 30 March the clocks go from 2 to 3: 23 hours. A kilowatt-hour costs 1,250 Rp.
    assert [day["local"][:10] for day in figures["data"]] == [
        "2025-03-29",
        "2025-03-30",
        "2025-03-31",
    ]
    assert [day["energy"] for day in figures["data"]] == pytest.approx([24, 23, 24])
    assert [day["cost"] for day in figures["data"]] == pytest.approx([30_000, 28_750, 30_000])
    assert (figures["energy"], figures["coverage"]) == (pytest.approx(71), 100.0)


@pytest.mark.database
def test_the_energy_of_all_months(full: Api) -> None:
    window: dict[str, Any] = {"device_id": "trafo1", "from_": "2025-03-01", "to": "2025-06-01"}
    figures = full.get("/api/panels/energy", **window, interval="month")
    # March has 744 hours, April 720; of the 69 days 61 are over, and 8 days and 10 h 39 min of May are there.
    may = 8 * 24 + 10 + 39 / 60
    assert [month["energy"] for month in figures["data"]] == pytest.approx([744, 720, may])
    assert [month["coverage"] for month in figures["data"]] == [
        100.0,
        100.0,
        pytest.approx(100 * may / 744, abs=0.01),
    ]


@pytest.mark.database
def test_the_pages_of_machines(full: Api) -> None:
    history = full.get("/api/sensor/history", limit=10_000)
    assert (history["count"], history["data"][0]["cumulative_production"]) == (10_000, 99_999.0)
    assert full.get("/api/sensor/latest")["data"] == history["data"][0]


@pytest.mark.database
def test_the_messages_of_panels(full: Api) -> None:
    messages = full.get("/api/mqtt/history", topic="panel/trafo1/power", limit=10_000)
    assert len(messages) == 10_000
    assert full.get("/api/mqtt/last-value/panel/trafo1/power") == messages[0]
    assert full.get("/api/mqtt/last-values") == {
        "voltage": None,
        "ampere": None,
        "power": 1000.0,
        "energy_cost": None,
        "timestamp": messages[0]["timestamp"],
    }


@pytest.mark.database
def test_the_health_of_soil(full: Api) -> None:
    page = full.get("/api/soil-health/history", limit=10_000)
    assert page["count"] == 10_000
    assert {(row["health_index"], row["status"]) for row in page["data"]} == {(100.0, "Excellent")}
    assert full.get("/api/soil/stats")["stats"]["count"] == ROWS
