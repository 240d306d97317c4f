"""The statistics and the status of the static publisher: what is counted, what is kept, and how it is shown."""

import json
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from publisher.entries import PublishConfig
from publisher.line import Outcome
from publisher.run import Run
from publisher.statistics import Counts, Statistics
from publisher.status import Status, Totals, saved, summary, table
from tests.support import free_port


def status(statistics: Statistics, *names: str) -> Status:
    """What a process would save."""
    total = statistics.total()
    totals: Totals = {
        "total_published": total.published,
        "total_acknowledged": total.acknowledged,
        "total_failed": total.failed,
        "total_missed": total.missed,
        "total_errors": total.failed,
        "last_published_at": total.document()["last_published_at"],
        "uptime_seconds": 3600.4,
        "started_at": "2026-01-29T14:30:45Z",
        "saved_at": "2026-01-29T15:30:45Z",
    }
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
            {**statistics.of(name).document(), "id": name, "topic": f"t/{name}", "connected": True} for name in names
        ],
    }


def test_what_the_broker_confirmed_is_acknowledged_what_was_lost_has_failed_and_of_qos_0_nobody_knows() -> None:
    made = Counts()
    for outcome in (Outcome.CONFIRMED, Outcome.CONFIRMED, Outcome.LOST, Outcome.WRITTEN):
        made.settled(outcome)
    assert (made.acknowledged, made.failed) == (2, 1)


def test_the_total_is_the_sum_of_all_entries_and_keeps_those_that_are_gone() -> None:
    statistics = Statistics()
    statistics.of("a").add(Counts(3, missed=1, last=1000.0))
    statistics.of("b").add(Counts(5, missed=0, last=2000.0))
    statistics.forget("a")
    total = statistics.total()
    assert (total.published, total.missed, total.last) == (8, 1, 2000.0)
    assert statistics.of("a").published == 0


def test_what_an_entry_hears_after_it_is_gone_still_counts() -> None:
    statistics = Statistics()
    leaving = statistics.of("a")
    statistics.forget("a")
    leaving.settled(Outcome.CONFIRMED)
    assert statistics.total().acknowledged == 1


def test_entries_that_are_gone_take_no_memory() -> None:
    statistics = Statistics()
    statistics.of("a")
    tracemalloc.start()
    for number in range(1000):
        statistics.of(f"entry{number}").published += 1
        statistics.forget(f"entry{number}")
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 10_000
    assert statistics.total().published == 1000


def test_the_total_never_shrinks_while_entries_come_and_go() -> None:
    statistics = Statistics()
    totals = [0]

    def come_and_go() -> None:
        for number in range(20_000):
            statistics.of(f"entry{number}").published += 1
            statistics.forget(f"entry{number}")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        counting = threading.Thread(target=come_and_go)
        counting.start()
        while counting.is_alive():
            totals.append(statistics.total().published)
    finally:
        sys.setswitchinterval(before)
    assert totals == sorted(totals)
    assert len(set(totals)) > 2
    assert statistics.total().published == 20_000


@pytest.fixture
def run(settings: Callable[..., Settings]) -> Iterator[Run]:
    """A run of the entry a, without a broker."""
    config = PublishConfig("a", "t/a", 60, 1, retain=False, lwt=False, payload=b"{}", offline=b"")
    made = Run(settings(mqtt_broker="127.0.0.1", mqtt_port=free_port()), None, [config])
    yield made
    made.connections.disconnect()


def test_a_status_counts_on_while_it_is_made_and_has_no_total_below_its_entries(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = Statistics.total

    def counts_on(statistics: Statistics) -> Counts:
        found = total(statistics)
        statistics.of("a").published += 1
        return found

    monkeypatch.setattr(Statistics, "total", counts_on)
    told = [run.status() for _ in range(3)]
    sums = [sum(row["published"] for row in status["configs"]) for status in told]
    assert sums == [0, 1, 2]
    assert [status["statistics"]["total_published"] for status in told] == sums


def test_a_status_that_says_connected_counts_what_was_published_at_that(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connects(run: Run) -> None:
        run._statistics.of("a").published += 1

    monkeypatch.setattr(Run, "problem", property(connects))
    told = run.status()
    assert told["connected"]
    assert (told["statistics"]["total_published"], told["configs"][0]["published"]) == (1, 1)


def test_a_saved_total_below_the_sum_of_its_entries_becomes_that_sum() -> None:
    before = Statistics()
    before.of("a").add(Counts(5, acknowledged=4, missed=2))
    told = status(before, "a")
    told["statistics"] |= {"total_published": 4, "total_acknowledged": 6}
    after = Statistics()
    after.restore(told)
    total = after.total()
    assert (total.published, total.acknowledged, total.missed) == (5, 6, 2)


def test_they_go_on_from_what_was_saved() -> None:
    before = Statistics()
    before.of("a").add(Counts(3, missed=1, last=1_769_697_045.25))
    before.of("gone").add(Counts(10))
    before.forget("gone")
    after = Statistics()
    after.restore(status(before, "a"))
    assert after.of("a").document() == {
        "published": 3,
        "acknowledged": 0,
        "failed": 0,
        "missed": 1,
        "last_published_at": "2026-01-29T14:30:45.250000Z",
    }
    assert after.total().published == 13


WHOLE = json.dumps(status(Statistics(), "a"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        WHOLE[:-1],
        "[]",
        "null",
        "\xff",
        WHOLE.replace('"saved_at"', '"saved"'),
        WHOLE.replace('"2026-01-29T15:30:45Z"', '"today"'),
        WHOLE.replace('"last_published_at": null', '"last_published_at": "today"'),
        WHOLE.replace('"id": "a"', '"id": 5'),
    ],
)
def test_a_saved_file_that_is_none_is_a_warning_and_they_begin_anew(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.json.statistics"
    file.write_text(text, encoding="latin-1")
    assert saved(file) is None
    assert [(record.levelname, str(file) in record.message) for record in caplog.records] == [("WARNING", True)]


def test_no_saved_file_is_nothing_to_talk_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert saved(tmp_path / "a.json.statistics") is None
    assert caplog.records == []


def test_a_saved_file_is_given_as_it_was_saved(tmp_path: Path) -> None:
    file = tmp_path / "a.json.statistics"
    told = status(Statistics(), "a")
    file.write_text(json.dumps(told))
    assert saved(file) == told


def test_a_saved_file_of_before_topics_were_remembered_has_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json.statistics"
    told = status(Statistics(), "a")
    file.write_text(json.dumps({name: value for name, value in told.items() if name != "retained"}))
    assert saved(file) == told


def test_the_summary_is_one_line() -> None:
    statistics = Statistics()
    statistics.of("a").add(Counts(1500, missed=2))
    told = status(statistics, "a")
    assert summary(told) == (
        "1 active configurations, 1,500 published, 0 acknowledged, 0 failed, 2 missed, uptime 3600 s, connected"
    )
    told |= {"connected": False, "problem": "refused"}
    assert summary(told).endswith("uptime 3600 s, refused")


def test_the_table_has_the_total_and_a_line_for_each_entry_in_columns() -> None:
    statistics = Statistics()
    statistics.of("boiler").add(Counts(1500, missed=2, last=1_769_697_045.25))
    statistics.of("b")
    assert list(table(status(statistics, "boiler", "b"))) == [
        "id      published  acknowledged  failed  missed  last published        connection  topic",
        "total   1,500      0             0       2       2026-01-29T14:30:45Z  open",
        "boiler  1,500      0             0       2       2026-01-29T14:30:45Z  open        t/boiler",
        "b       0          0             0       0       never                 open        t/b",
    ]


def test_a_long_table_ends_with_how_many_more_there_are() -> None:
    names = [f"e{number}" for number in range(30)]
    lines = list(table(status(Statistics(), *names), most=20))
    assert len(lines) == 23
    assert lines[-1] == "and 10 more"
