"""What is new in the database, as events: nothing is lost, and nothing is said twice, on every kind of database."""

import time
from datetime import datetime, timedelta

import pytest

from broker.notifier import ChangeSet
from database import Unavailable
from services import changes as changes_module
from services.changes import OVERLAP
from tests.rows import execute
from tests.sites import ALL, Site, left_out, said
from utils import clock

EVERYTHING = ChangeSet(everything=True)


# What notices say


def test_of_a_batch_the_newest_reading_of_each_device_is_said(site: Site) -> None:
    news = site.store(("a", 10), ("a", 0), ("b", 5), ("b", 7), ("a", 3), ("c", 1))
    assert sorted(said(site.changes.read(news))) == [("a", 10), ("b", 7), ("c", 1)]


def test_of_readings_of_one_time_the_last_stored_is_the_newest(site: Site) -> None:
    at = clock.now()
    with site.database.write() as connection, site.database.transaction(connection):
        site.write(
            connection, "sensors", [site.row("a", 5, value, 1, 1, 1) for value in (3, 1, 2)], at
        )
    events = site.changes.read(ChangeSet(readings={"sensors": [at]}))
    newest = site.changes.newest_id("sensors")
    assert [event.reading_id for event in events if event.name == "reading"] == [newest]
    assert left_out(events) == [("a", newest - 2, newest - 1)]


def test_of_what_is_not_said_the_ids_are_said(site: Site) -> None:
    news = site.store(("a", 1), ("a", 3), ("b", 1), ("a", 2))
    assert left_out(site.changes.read(news)) == [("a", 1, 4)]
    assert left_out(site.changes.read(site.store(("a", 4), ("b", 2)))) == []
    site.store(("a", 5))
    site.store(("a", 6))
    site.store(("b", 3))
    assert left_out(site.changes.read(EVERYTHING)) == [("a", 7, 7)]
    assert left_out(site.changes.read(EVERYTHING)) == []


def test_batches_that_nobody_told_of_are_not_looked_for(site: Site) -> None:
    site.store(("a", 1))
    news = site.store(("b", 2))
    site.store(("c", 3))
    assert said(site.changes.read(news)) == [("b", 2)]


def test_the_document_is_that_of_the_rest_api(site: Site) -> None:
    at = datetime(2026, 1, 29, 14, 0, 0, 5)
    (event,) = site.changes.read(site.store(("a", 10), at=at))
    assert event.data == {
        "stream": "sensors",
        "data": {
            "id": 1,
            "device_id": "a",
            "timestamp": "2026-01-29T14:30:56.000000Z",
            "device_timestamp": None,
            "temperature": 10.0,
            "vibration": 1.0,
            "gas": 1.0,
            "power": 1.0,
            "created_at": "2026-01-29T14:00:00.000005Z",
        },
    }


def test_where_each_metric_has_a_topic_the_newest_of_each_is_said(site: Site) -> None:
    news = site.store_panel(
        ("p", 1, 5, None), ("p", 2, 6, None), ("p", 0, None, "on"), ("q", 9, 7, None)
    )
    assert sorted(said(site.changes.read(news))) == [
        ("p", ("ampere", 6)),
        ("p", ("state", "on")),
        ("q", ("ampere", 7)),
    ]


def test_states_are_said_as_they_are_now(site: Site) -> None:
    news = site.command("1", "pending")
    news.add(site.presence("a", online=True))
    site.command("1", "sent")
    assert said(site.changes.read(news)) == [("1", "sent"), ("a", True)]


def test_a_state_that_did_not_change_is_not_said_again(site: Site) -> None:
    news = site.command("1", "sent")
    news.add(site.presence("a", online=True))
    assert len(site.changes.read(news)) == 2
    assert site.changes.read(news) == []
    assert site.changes.read(EVERYTHING) == []
    site.presence("a", online=False)
    assert said(site.changes.read(EVERYTHING)) == [("a", False)]


def test_what_is_not_committed_is_not_said(site: Site) -> None:
    at = clock.now()
    told = ChangeSet(readings={"sensors": [at]}, everything=True)
    with site.database.write() as connection:
        with site.database.transaction(connection):
            site.write(connection, "sensors", [site.row("a", 1)], at)
            assert site.changes.read(told) == []
            assert list(site.changes.missed(ALL, 0)) == []
        assert said(site.changes.read(told)) == [("a", 1)]


# When notices may have been missed


def test_everything_neither_loses_nor_repeats(site: Site) -> None:
    site.store(("a", 1), ("b", 1))
    assert sorted(said(site.changes.read(EVERYTHING))) == [("a", 1), ("b", 1)]
    assert site.changes.read(EVERYTHING) == []
    site.store(("b", 2))
    assert said(site.changes.read(EVERYTHING)) == [("b", 2)]
    assert site.changes.read(EVERYTHING) == []


def test_of_a_batch_in_the_wrong_order_the_older_is_not_said_later(site: Site) -> None:
    site.store(("a", 10), ("a", 0))
    assert said(site.changes.read(EVERYTHING)) == [("a", 10)]
    assert site.changes.read(EVERYTHING) == []


def test_a_row_of_another_process_is_said_also_after_a_later_one_of_this(site: Site) -> None:
    site.store(("theirs", 5))  # while the broker is away, so that nobody tells
    own = site.store(("own", 6))
    assert said(site.changes.read(own)) == [("own", 6)]
    assert said(site.changes.read(EVERYTHING)) == [("theirs", 5)]
    assert site.changes.read(EVERYTHING) == []


def test_a_row_that_is_committed_after_a_later_one_is_said(site: Site) -> None:
    at = clock.now() - OVERLAP / 2
    with site.database.write() as slow, site.database.write() as quick:
        if site.database.engine.dialect.name != "sqlite":  # which has one writer at a time
            with site.database.transaction(slow):
                site.write(slow, "sensors", [site.row("slow", 1)], at)
                with site.database.transaction(quick):
                    site.write(quick, "sensors", [site.row("quick", 2)], clock.now())
                assert said(site.changes.read(EVERYTHING)) == [("quick", 2)]
        else:
            site.store(("quick", 2))
            assert said(site.changes.read(EVERYTHING)) == [("quick", 2)]
            site.store(("slow", 1), at=at)
    assert said(site.changes.read(EVERYTHING)) == [("slow", 1)]


def test_everything_does_not_say_again_what_was_told(site: Site) -> None:
    news = site.store_panel(("p", 1, 5, None), ("p", 0, None, "on"))
    news.add(site.store(("a", 1)))
    news.add(site.command("1", "sent"))
    assert len(site.changes.read(news)) == 4
    assert site.changes.read(EVERYTHING) == []


def test_what_is_older_than_the_overlap_is_passed_over_by_who_begins(site: Site) -> None:
    old = clock.now() - OVERLAP - timedelta(seconds=1)
    site.store(("a", 1), at=old)
    site.command("1", "sent", at=old)
    site.presence("a", online=True, at=old)
    begins = site.another()
    begins.skip()
    assert begins.read(EVERYTHING) == []


def test_a_failure_loses_nothing(site: Site) -> None:
    rename = "ALTER TABLE {} RENAME TO {}"
    site.store(("a", 1))
    site.command("1", "sent")
    execute(site.database, rename.format("presence", "aside"))
    try:
        with pytest.raises(Unavailable, match="presence"):
            site.changes.read(EVERYTHING)
    finally:
        execute(site.database, rename.format("aside", "presence"))
    assert said(site.changes.read(EVERYTHING)) == [("a", 1), ("1", "sent")]


def test_what_nobody_told_of_is_said_with_everything_also_after_notices_of_others(
    site: Site,
) -> None:
    site.changes.skip()
    untold = clock.now()
    site.store(("untold", 1), at=untold)
    told = site.store(("told", 2), at=untold + 2 * OVERLAP)
    assert said(site.changes.read(told)) == [("told", 2)]
    assert said(site.changes.read(EVERYTHING)) == [("untold", 1)]


def test_presence_is_said_by_the_time_it_was_stored(site: Site) -> None:
    site.changes.skip()
    site.presence("late", online=True, at=clock.now())
    assert said(site.changes.read(EVERYTHING)) == [("late", True)]
    assert said(site.changes.read(EVERYTHING)) == []


def test_what_is_remembered_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MAX_SHOWN", 5)
    site.changes.read(site.store(*[(f"d{number}", 1) for number in range(20)]))
    assert len(site.changes._shown) == 5


def test_what_is_too_much_to_look_at_is_a_gap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MAX_LOOK_BACK", 3)
    site.store(("a", 0))
    site.changes.read(EVERYTHING)
    for number in range(1, 8):
        site.store(("a", number))
    events = site.changes.read(EVERYTHING)
    assert said(events) == [("a", 7)]
    assert left_out(events) == [(None, 2, 4), ("a", 5, 7)]
    assert left_out(site.changes.read(EVERYTHING)) == []


def test_a_state_is_said_that_changed_after_the_clock_was_set_back_while_nobody_looked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.changes.read(EVERYTHING)
    looked, up = clock.now(), time.monotonic()
    # The clock goes back by an hour, and on by an hour and a half until the next look.
    site.command("stop", "sent", at=looked - timedelta(minutes=30))
    monkeypatch.setattr(clock, "now", lambda: looked + timedelta(minutes=30))
    monkeypatch.setattr(time, "monotonic", lambda: up + 5_400)
    assert said(site.changes.read(EVERYTHING)) == [("stop", "sent")]
