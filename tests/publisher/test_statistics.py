"""The statistics and the status of the static publisher: what is counted, saved and shown."""

import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.tracked_connection import Delivery
from config import Settings
from publisher.entries import PublishConfig
from publisher.publication import Publication
from publisher.statistics import MessageCounter, Statistics
from publisher.status import PublisherStatus, StatusFile, summary, table
from publisher.turn import PublishingTurn
from tests.publishing import Log, Patch

LAST = 1_769_697_045.25
"""2026-01-29T14:30:45.25Z."""


def status(statistics: Statistics, *names: str) -> PublisherStatus:
    """A status that a process could save."""
    totals = statistics.totals(uptime=3600.4)
    totals |= {"started_at": "2026-01-29T14:30:45Z", "saved_at": "2026-01-29T15:30:45Z"}
    return {
        "running": True,
        "connected": True,
        "problem": None,
        "broker": "mqtt://127.0.0.1:1883",
        "config": "payloads.json",
        "connections": {"open": 1, "needed": 1},
        "publisher_id": "0123456789abcdef",
        "retained": [],
        "active_configs": len(names),
        "faults": [],
        "statistics": totals,
        "configs": [
            {**statistics.of(name).as_json(), "id": name, "topic": f"t/{name}", "connected": True}
            for name in names
        ],
    }


def counted(statistics: Statistics, name: str, published: int, missed: int = 0) -> MessageCounter:
    """The counts of an entry after so many messages."""
    counts = statistics.of(name)
    for _ in range(published):
        counts.on_publish(LAST)
    counts.on_miss(missed)
    return counts


def test_deliveries_are_acknowledged_or_failed_and_at_qos_0_unknown() -> None:
    made = MessageCounter()
    for delivery in (*Delivery, Delivery.CONFIRMED):
        made.on_delivery(delivery)
    assert (made.acknowledged, made.failed) == (2, 2)


def test_the_total_is_the_sum_of_all_entries_also_of_removed_ones() -> None:
    statistics = Statistics()
    gone = counted(statistics, "a", 3, missed=1)
    counted(statistics, "b", 5)
    statistics.forget("a")
    gone.on_delivery(Delivery.CONFIRMED)
    total = statistics.total
    assert (total.published, total.acknowledged, total.missed) == (8, 1, 1)
    assert total.last == LAST
    assert statistics.of("a").published == 0


def test_removed_entries_take_no_memory() -> None:
    statistics = Statistics()
    statistics.of("a")
    tracemalloc.start()
    for number in range(1000):
        counted(statistics, f"entry{number}", 1)
        statistics.forget(f"entry{number}")
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 10_000
    assert statistics.total.published == 1000


@pytest.fixture
def publication(settings: Callable[..., Settings]) -> Publication:
    """A publication of the entry a, without a broker; its thread does not run."""
    config = PublishConfig("a", "t/a", 60, 1, retain=False, lwt=False, payload=b"{}", offline=b"")
    made = Publication(settings(), None)
    made._apply([config])
    return made


def test_a_status_that_says_connected_counts_what_was_published_on_connecting(
    publication: Publication, monkeypatch: Patch
) -> None:
    def connects(publication: Publication) -> None:
        publication.statistics.of("a").on_publish(LAST)

    monkeypatch.setattr(Publication, "problem", property(connects))
    told = publication.progress()
    assert told["connected"]
    assert (told["statistics"]["total_published"], told["configs"][0]["published"]) == (1, 1)


def test_a_total_is_never_below_its_entries_while_it_counts(publication: Publication) -> None:
    counting = threading.Thread(target=counted, args=(publication.statistics, "a", 100_000))
    counting.start()
    while counting.is_alive():
        told = publication.progress()
        assert told["statistics"]["total_published"] >= told["configs"][0]["published"]


def test_they_continue_from_what_was_saved() -> None:
    before = Statistics()
    counted(before, "a", 3, missed=1)
    counted(before, "gone", 10)
    before.forget("gone")
    after = Statistics(status(before, "a"))
    last = {"last_published_at": "2026-01-29T14:30:45.250000Z"}
    counts = {"published": 3, "acknowledged": 0, "failed": 0, "missed": 1}
    assert after.of("a").as_json() == counts | last
    assert after.total.published == 13


@pytest.fixture
def file(tmp_path: Path) -> StatusFile:
    return StatusFile(tmp_path / "a.json.statistics")


WHOLE = json.dumps(status(Statistics(), "a"))
WRONG = [
    ('"saved_at"', '"saved"'),
    ('"2026-01-29T15:30:45Z"', '"today"'),
    ('"last_published_at": null', '"last_published_at": "today"'),
    ('"id": "a"', '"id": 5'),
]


@pytest.mark.parametrize(
    "text",
    ["", "[" * 5000, WHOLE[:-1], "[]", "null", "\xff", *(WHOLE.replace(*each) for each in WRONG)],
)
def test_an_unreadable_saved_file_is_a_warning(text: str, file: StatusFile, caplog: Log) -> None:
    file.path.write_text(text, encoding="latin-1")
    assert file.read() is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(file.path) in record.message


def test_a_saved_file_is_read_even_without_retained_topics(file: StatusFile, caplog: Log) -> None:
    assert file.read() is None
    saved = status(Statistics(), "a")
    file.write(saved)
    assert file.read() == saved
    old = {name: value for name, value in saved.items() if name != "retained"}
    file.path.write_text(json.dumps(old))
    assert file.read() == saved
    assert caplog.records == []


@pytest.mark.parametrize("saved_at", ["2026-01-29T15:30:45Z", "2999-01-01T00:00:00Z"])
def test_a_killed_process_is_not_shown_as_running_whatever_its_clock_was(
    settings: Callable[..., Settings], file: StatusFile, saved_at: str
) -> None:
    saved = status(Statistics(), "a")
    saved["statistics"]["saved_at"] = saved_at
    file.write(saved)
    found = PublishingTurn(settings(), file.path.with_suffix("")).status()
    assert (found["running"], found["problem"]) == (False, "no process publishes it")


def test_the_summary_is_one_line() -> None:
    statistics = Statistics()
    counted(statistics, "a", 1500, missed=2)
    told = status(statistics, "a")
    counts = "1,500 published, 0 acknowledged, 0 failed, 2 missed"
    assert summary(told) == f"1 active configurations, {counts}, uptime 3600 s, connected"
    told |= {"connected": False, "problem": "refused"}
    assert summary(told).endswith("uptime 3600 s, refused")


def test_the_table_has_columns_and_a_row_for_the_total_and_each_entry() -> None:
    statistics = Statistics()
    counted(statistics, "boiler", 1500, missed=2)
    statistics.of("b")
    assert list(table(status(statistics, "boiler", "b"))) == [
        "id      published  acknowledged  failed  missed  last published        connection  topic",
        "total   1,500      0             0       2       2026-01-29T14:30:45Z  open",
        "boiler  1,500      0             0       2       2026-01-29T14:30:45Z  open        t/boiler",
        "b       0          0             0       0       never                 open        t/b",
    ]
    names = [f"e{number}" for number in range(30)]
    lines = list(table(status(Statistics(), *names), most=20))
    assert len(lines) == 23
    assert lines[-1] == "and 10 more"
