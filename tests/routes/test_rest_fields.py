"""Streams that keep what no metric takes: every answer shows it, and a metric takes it over later."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

import queries.newest
import queries.readings
from database import Database
from services import rest_backfill
from streams.declaration import load
from streams.rest import MAX_NAMES
from tests.api import Api, noon
from tests.pipelines import message, new_pipeline
from tests.support import DEVICE_TOPICS

USED_STREAMS = ""

POSTED = "/api/anything/readings?device_id=kitchen"
ANYTHING = 'topic = "anything/{device_id...}"\ndevice = "{device_id}"\nrest = "keep"\n'
LATER = '[metrics]\npower = "ENERGY.Power"\non = { path = "POWER", type = "boolean" }\nT = {}\n'


@pytest.fixture
def anything(api: Api) -> Api:
    """Three readings of one device."""
    sent: list[dict[str, Any]] = [
        {"T": 21.5, "on": True},
        {"T": 22.5, "on": False, "s": "warm"},
        {"E": {"P": 7}},
    ]
    for second, fields in enumerate(sent):
        api.post(POSTED, {**fields, "timestamp": noon(second)})
    return api


def test_readings_have_the_fields_as_keys(anything: Api) -> None:
    newest = anything.get("/api/anything/latest")["data"]
    assert newest["E.P"] == 7
    assert newest.keys() == {
        "id",
        "device_id",
        "timestamp",
        "device_timestamp",
        "created_at",
        "E.P",
    }
    rows = anything.get("/api/anything/history")["data"]
    assert [(row.get("T"), row.get("on"), row.get("s")) for row in rows] == [
        (None, None, None),
        (22.5, False, "warm"),
        (21.5, True, None),
    ]


def test_ml_data_has_a_column_for_each_name(anything: Api) -> None:
    data = anything.get("/api/anything/ml-data")["data"]
    assert len(data.pop("timestamps")) == 3
    assert data.pop("device_ids") == ["kitchen"] * 3
    assert data == {
        "T": [21.5, 22.5, None],
        "on": [True, False, None],
        "s": [None, "warm", None],
        "E.P": [None, None, 7],
    }


def test_stats_have_the_figures_of_each_number(anything: Api) -> None:
    assert anything.get("/api/anything/stats")["stats"] == {
        "count": 3,
        "avg_E.P": 7,
        "min_E.P": 7,
        "max_E.P": 7,
        "avg_T": 22.0,
        "min_T": 21.5,
        "max_T": 22.5,
        "avg_on": 0.5,
        "min_on": 0,
        "max_on": 1,
    }
    assert anything.get("/api/anything/stats", device_id="cellar")["stats"] == {"count": 0}


def test_the_same_reading_again_is_a_duplicate(api: Api) -> None:
    api.post(POSTED, {"T": 21.5, "timestamp": noon(1)})
    assert api.post(POSTED, {"T": 21.50, "timestamp": noon(1)})["duplicate"] == 1
    assert api.post(POSTED, {"T": 21.6, "timestamp": noon(1)})["stored"] == 1
    assert api.post(POSTED, {"U": 21.5, "timestamp": noon(1)})["stored"] == 1


@pytest.fixture
def stored(database_url: str, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """A function that returns the database as a start with a declaration leaves it."""
    opened: list[Database] = []

    def start(declared: str) -> Database:
        (tmp_path / "anything.toml").write_text(declared)
        opened.append(Database(make_url(database_url), load(tmp_path, {}, DEVICE_TOPICS)))
        opened[-1].prepare()
        return opened[-1]

    yield start
    for database in opened:
        database.close()


def handle(database: Database, *payloads: Any) -> None:
    pipeline = new_pipeline(database, database._streams)
    with database.write() as connection:
        for payload in payloads:
            pipeline.handle(connection, [message(json.dumps(payload), "anything/d1")])


def rows_of(database: Database) -> list[dict[str, Any]]:
    names = [metric.name for metric in database._streams["anything"].metrics]
    with database.read() as reader:
        table = database.tables["anything"]
        found = queries.readings.history(reader, table, queries.readings.TimeFilter(), 1_000)
    rows = sorted(found, key=lambda row: int(row["id"]))
    return [{name: row[name] for name in (*names, "rest")} for row in rows]


def test_a_device_keeps_so_many_names(stored: Callable[[str], Database]) -> None:
    database = stored(ANYTHING)
    handle(database, *({f"n{index}": 1, "last": 2} for index in range(MAX_NAMES + 2)))
    kept = [json.loads(row["rest"]) for row in rows_of(database)]
    assert kept[MAX_NAMES - 2] == {f"n{MAX_NAMES - 2}": 1, "last": 2}
    assert kept[MAX_NAMES - 1] == kept[MAX_NAMES] == {"last": 2}


def test_two_metrics_are_filled_from_one_field(stored: Callable[[str], Database]) -> None:
    handle(stored(ANYTHING), {"P": "1;2"})
    halves = "".join(
        f'{name} = {{ path = "P", split = ";", item = {item} }}\n' for item, name in enumerate("ab")
    )
    database = stored(f"{ANYTHING}[metrics]\n{halves}")
    rest_backfill.fill(database, database._streams["anything"])
    assert rows_of(database) == [{"a": 1.0, "b": 2.0, "rest": None}]


def test_a_metric_that_is_declared_later_is_filled(stored: Callable[[str], Database]) -> None:
    handle(
        stored(ANYTHING),
        {"ENERGY": {"Power": 3}, "POWER": "ON", "x": 1},
        {"ENERGY": {"Power": 4.5}, "T": "?"},
        {"x": 2},
    )
    database = stored(ANYTHING + LATER)
    stream = database._streams["anything"]
    assert rest_backfill.fill(database, stream) == (2, 1)
    assert rows_of(database) == [
        {"power": 3.0, "on": True, "T": None, "rest": '{"x":1}'},
        {"power": 4.5, "on": None, "T": None, "rest": '{"T":"?"}'},
        {"power": None, "on": None, "T": None, "rest": '{"x":2}'},
    ]
    with database.read() as reader:
        assert queries.newest.metrics(reader, "anything", "d1") == {"power", "on"}
    assert rest_backfill.fill(database, stream) == (0, 1)


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param({"T": 21.5, "x": 1}, id="the same name and value"),
        pytest.param({"ENERGY": {"Power": 3}, "x": 1}, id="another name"),
        pytest.param({"POWER": "ON"}, id="another value"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["afterwards", "before it, too"])
def test_a_reading_that_comes_again_after_that_is_a_duplicate(
    reading: dict[str, Any], is_late: bool, stored: Callable[[str], Database]
) -> None:
    dated = reading | {"timestamp": noon(1)}
    handle(stored(ANYTHING), dated)
    database = stored(ANYTHING + LATER)
    if is_late:
        handle(database, dated)
    rows = len(rows_of(database))
    rest_backfill.fill(database, database._streams["anything"])
    handle(database, dated)
    assert len(rows_of(database)) == rows
