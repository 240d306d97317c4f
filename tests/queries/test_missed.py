"""What one client missed: since an id or a time, over page borders, of one device or of all."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

import queries.readings
from services import changes as changes_module
from services.changes import OVERLAP, ChangeReader
from services.feed import Interest
from tests.parsing import RECEIVED as NOON
from tests.sites import ALL, Site, left_out, said
from utils import clock

START = NOON + timedelta(days=1)
"""Later than what the devices say, as it mostly is."""


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def hour(site: Site) -> Site:
    """Of each of two devices a reading every ten seconds; ids 1 to 12."""
    for number in range(6):
        site.store(("a", number), ("b", number), at=after(10 * number))
    return site


def numbers(found: list[Any], device_id: str = "a") -> list[float]:
    return [value for name, value in found if name == device_id]


def test_since_an_id_everything_stored_later_is_said_in_order(hour: Site) -> None:
    found = hour.missed(7)
    assert found == [("a", 3), ("b", 3), ("a", 4), ("b", 4), ("a", 5), ("b", 5)]


@pytest.mark.parametrize(
    ("since", "temperatures"),
    [
        (0, [0, 1, 2, 3, 4, 5]),
        (1, [0, 1, 2, 3, 4, 5]),
        (3, [1, 2, 3, 4, 5]),
        (11, [5]),
        (12, [5]),
        (10**18 - 1, [5]),
        (after(0), [0, 1, 2, 3, 4, 5]),
        (after(30), [3, 4, 5]),
        (after(30.000001), [3, 4, 5]),
        (after(31.9), [3, 4, 5]),
        (after(32.1), [4, 5]),
        (after(52.1), []),
        (datetime(1, 1, 1), [0, 1, 2, 3, 4, 5]),
        (datetime(1970, 1, 1), [0, 1, 2, 3, 4, 5]),
        (datetime(9999, 12, 31), []),
    ],
)
def test_since_an_id_or_a_time_nothing_is_missing(
    hour: Site, since: Any, temperatures: list[float]
) -> None:
    assert numbers(hour.missed(since)) == temperatures


@pytest.mark.parametrize("since", [13, 10**18, 2**63 - 1])
def test_an_id_above_the_newest_is_a_gap_and_what_comes_is_live(hour: Site, since: int) -> None:
    first, *others = hour.another().missed(ALL, since)
    assert first.data == {"stream": "sensors", "device_id": None, "from_id": 13, "to_id": since}
    assert left_out(others) == []


def test_since_an_id_that_is_gone_begins_at_the_one_before(hour: Site) -> None:
    with hour.database.write() as connection, hour.database.transaction(connection):
        table = hour.database.tables["sensors"]
        connection.execute(table.delete().where(table.c.id.in_([7, 8])))
    assert numbers(hour.missed(8)) == [2, 4, 5]


def test_it_begins_two_seconds_earlier_for_what_was_sent_in_another_order(site: Site) -> None:
    site.store(("early", 1), at=after(0))
    site.store(("slow", 2), at=after(8.5))
    site.store(("seen", 3), at=after(10))
    assert timedelta(seconds=2) == OVERLAP
    assert site.missed(3) == site.missed(after(10)) == [("slow", 2), ("seen", 3)]


def test_of_one_device_only_its_own_is_said(hour: Site) -> None:
    assert hour.missed(0, Interest("sensors", "b")) == [("b", number) for number in range(6)]
    assert hour.missed(0, Interest("sensors", "nobody")) == []


def test_of_a_stream_only_its_own_is_said(hour: Site) -> None:
    hour.store_panel(("p", 1, 5, None), ("p", 2, None, "on"))
    assert hour.missed(0, Interest("panel")) == [("p", ("ampere", 5)), ("p", ("state", "on"))]
    assert len(hour.missed(0)) == 12


@pytest.mark.parametrize("page", [1, 2, 5, 12])
@pytest.mark.parametrize(
    "apart", [0, 1, 1e-6], ids=["one batch", "a batch a second", "a batch a microsecond"]
)
def test_page_borders_neither_lose_nor_repeat(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
    apart: float,
) -> None:
    monkeypatch.setattr(changes_module, "PAGE", page)
    for number in range(0, 12, 2):
        site.store(("a", number), ("b", number + 1), at=after(number * apart))
    assert [value for _, value in site.missed(0)] == list(range(12))
    assert numbers(site.missed(0, Interest("sensors", "a"))) == list(range(0, 12, 2))


def test_ids_and_times_in_different_orders_lose_nothing_over_page_borders(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 2)
    for second in (5, 1, 4, 2, 3, 1, 5):
        site.store(("a", second), at=after(second))
    assert numbers(site.missed(0)) == [5, 1, 4, 2, 3, 1, 5]


def test_what_is_stored_meanwhile_is_left_to_the_live_events(
    hour: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 4)
    missed = ChangeReader(hour.database, hour.streams).missed(ALL, 0)
    first = next(missed)
    hour.store(("a", 99), at=after(60))
    assert numbers(said([first, *missed])) == [0, 1, 2, 3, 4, 5]


def test_states_come_first_and_only_those_that_changed_since(hour: Site) -> None:
    hour.command("old", "sent", at=after(20))
    hour.command("new", "sent", at=after(40))
    hour.command("other", "pending", "b", at=after(41))
    hour.presence("a", online=True, at=after(20))
    hour.presence("b", online=False, at=after(40))
    assert hour.missed(after(50)) == [("a", 5), ("b", 5)]
    assert hour.missed(after(40))[:4] == [
        ("new", "sent"),
        ("other", "pending"),
        ("b", False),
        ("a", 4),
    ]
    assert hour.missed(after(40), Interest("sensors", "b"))[:3] == [
        ("other", "pending"),
        ("b", False),
        ("b", 4),
    ]
    assert hour.missed(after(20), Interest("sensors", "a"))[:4] == [
        ("old", "sent"),
        ("new", "sent"),
        ("a", True),
        ("a", 2),
    ]


def test_states_are_said_since_the_time_of_an_id(hour: Site) -> None:
    hour.command("old", "sent", at=after(27))
    hour.command("new", "sent", at=after(29))
    assert hour.missed(7)[0] == ("new", "sent")
    assert hour.missed(0)[:2] == [("old", "sent"), ("new", "sent")]


def test_an_empty_stream_has_missed_nothing_and_its_newest_id_is_0(site: Site) -> None:
    for since in (0, 7, START):
        assert site.missed(since) == []
    assert site.changes.newest_id("sensors") == 0
    site.store(("a", 1), ("b", 2))
    assert site.changes.newest_id("sensors") == 2


def test_asking_for_what_was_missed_does_not_change_what_is_new(site: Site) -> None:
    news = site.store(("a", 1), at=clock.now())
    assert said(site.changes.missed(ALL, 0)) == [("a", 1)]
    assert said(site.changes.read(news)) == [("a", 1)]


def test_since_the_time_of_a_device_whose_clock_is_ahead_nothing_is_missing(site: Site) -> None:
    ahead = (after(240) - NOON).total_seconds()
    site.store(("ahead", ahead), at=after(0))
    site.store(("ahead", ahead + 1), at=after(1))
    site.store(("other", 5), at=after(243))
    site.store(("later", 6), at=after(200))  # as after the server's clock was set back
    seen = after(240)
    assert site.missed(seen) == [("ahead", ahead), ("ahead", ahead + 1), ("other", 5), ("later", 6)]


def test_many_who_catch_up_read_their_pages_in_turns(
    hour: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 2)
    ask, lock, most, now = queries.readings.readings_of, threading.Lock(), 0, 0

    def counted(*arguments: Any) -> Any:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)  # a page takes its time
        found = ask(*arguments)
        with lock:
            now -= 1
        return found

    monkeypatch.setattr(queries.readings, "readings_of", counted)
    stuck = [hour.changes.missed(ALL, 0) for _ in range(5)]
    assert [next(client).reading_id for client in stuck] == [1] * 5  # and they read no further
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: list(hour.changes.missed(ALL, 0)), range(24)))
    assert {len(events) for events in found} == {12}
    assert most <= changes_module.CATCH_UPS


def test_states_that_changed_after_the_clock_was_set_back_are_said_once_it_has_caught_up(
    site: Site,
) -> None:
    site.store(("a", 1), at=after(3600))
    site.store(("a", 2), at=after(0))  # the clock was set back by an hour
    site.command("stop", "sent", at=after(1800))
    site.presence("a", online=False, at=after(1800))
    site.store(("a", 3), at=after(5400))
    assert site.missed(1)[:2] == [("stop", "sent"), ("a", False)]
