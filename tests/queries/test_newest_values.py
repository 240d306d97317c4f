"""The newest value of a metric is looked up, and not looked for among all readings."""

from typing import Any

import pytest

import queries.newest
from database import Database
from integrations.pelbiot.tests.panels import NONE, at, store
from tests.api import Api

ROWS = 5_000
FEW = 10
"""Hundreds of steps of SQLite's machine; a search through the readings takes hundreds of them."""


def steps(database: Database, device_id: str | None, metric: str) -> int:
    """How many hundreds of steps SQLite takes for a newest value."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    with database.read() as reader:
        driver: Any = reader.connection.driver_connection
        driver.set_progress_handler(count, 100)
        queries.newest.value(reader, "panels", database.tables["panels"], device_id, metric)
        driver.set_progress_handler(None, 0)
    return taken


@pytest.mark.parametrize("device_id", [None, "p1"])
@pytest.mark.parametrize("metric", ["voltage", "ampere", "power"])
def test_a_metric_that_is_rare_or_never_came_costs_no_more_than_others(
    sqlite_api: Api, device_id: str | None, metric: str
) -> None:
    store(sqlite_api, "ampere", 7, 0, "p1")
    body = [{"value": n, "timestamp": 1_705_314_700 + n} for n in range(ROWS)]
    sqlite_api.post("/api/panels/readings", body, device_id="p1", metric="voltage")
    assert steps(sqlite_api.app.extensions["autoforge"].database, device_id, metric) < FEW


def test_the_newest_value_is_that_of_the_latest_time_and_of_several_the_one_stored_last(
    api: Api,
) -> None:
    for value, second, panel in (
        (1, 46, "a"),
        (2, 45, "a"),
        (3, 46, "b"),
        (4, 46, "a"),
        (5, 44, "c"),
    ):
        store(api, "voltage", value, second, panel)
    assert api.get("/api/mqtt/last-values") == NONE | {"voltage": 4.0, "timestamp": at(46)}
    newest = {
        panel: api.get(f"/api/mqtt/last-value/panel/{panel}/volt")["value"] for panel in "abcd"
    }
    assert newest == {"a": 4, "b": 3, "c": 5, "d": None}
    assert api.get("/api/mqtt/last-values", device_id="d") == NONE
