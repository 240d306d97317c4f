"""When the tables are made: once for each database in the place, and not again at once after a failure."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy.engine import make_url

from storage import preparation
from storage.failures import Unavailable
from storage.preparation import Preparation
from storage.sqlite import SQLite


class Place(SQLite):
    """A database with a file that the test can replace."""

    now = 0

    @property
    def era(self) -> int:
        return self.now


class Tables:
    """Makes the tables, or fails."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.made = 0
        self.failing = False

    def __call__(self) -> int:
        if self.failing:
            raise Unavailable("it is locked")
        self.made += 1
        return self.place.era


@pytest.fixture
def tables() -> Tables:
    return Tables(Place(make_url("sqlite:///test.db")))


@pytest.fixture
def ensure(tables: Tables) -> Callable[[], None]:
    return Preparation(tables.place, tables).ensure


def test_the_tables_are_made_once_for_each_era(ensure: Callable[[], None], tables: Tables) -> None:
    ensure()
    ensure()
    assert tables.made == 1
    tables.place.now += 1
    ensure()
    assert tables.made == 2


def test_a_failure_is_repeated_for_a_while_without_another_attempt(
    ensure: Callable[[], None], tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.failing = True
    with pytest.raises(Unavailable, match="it is locked"):
        ensure()
    tables.failing = False
    with pytest.raises(Unavailable, match="it is locked"):
        ensure()
    assert tables.made == 0
    monkeypatch.setattr(preparation, "RETRY_SECONDS", 0.0)
    ensure()
    assert tables.made == 1


def test_it_is_not_tried_again_by_a_process_that_stops(tables: Tables) -> None:
    made = Preparation(tables.place, tables)
    made.stop()
    with pytest.raises(Unavailable, match="this process is stopping"):
        made.ensure()
    assert tables.made == 0


def test_an_error_that_nobody_foresaw_is_told_in_one_line(tables: Tables) -> None:
    def make() -> int:
        raise AssertionError

    made = Preparation(tables.place, make)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"^its tables cannot be made: AssertionError$"):
            made.ensure()


def test_it_waits_until_the_tables_are_there(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(preparation, "POLL_SECONDS", 0.01)
    made = Preparation(tables.place, tables)
    tables.failing = True
    made.wait(0.05, threading.Event())
    assert tables.made == 0
    tables.failing = False
    made.wait(5, threading.Event())
    assert tables.made == 1


def test_it_waits_no_longer_than_the_process_runs(tables: Tables) -> None:
    tables.failing = True
    ended = threading.Event()
    threading.Timer(0.2, ended.set).start()
    before = time.monotonic()
    Preparation(tables.place, tables).wait(60, ended)
    assert time.monotonic() - before < 10
