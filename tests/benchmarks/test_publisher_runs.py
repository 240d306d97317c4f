"""The benchmark of the static publisher in a short form: it measures what it claims to."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import arrivals, broker, publisher_runs, static_publisher
from benchmarks.bench import Bench
from benchmarks.publisher_runs import PublisherBench, Sustained
from tests.support import publishing


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PublisherBench]:
    with broker.fitting(tmp_path / "broker") as port:
        bench = Bench(tmp_path, quick=True, postgres=None, mosquitto=True)
        yield PublisherBench(bench, tmp_path, port)


@pytest.mark.broker
@pytest.mark.process
def test_a_subscriber_receives_every_publish_the_publisher_counts(site: PublisherBench) -> None:
    run = site.observe("observed", count=5, interval=0.5, seconds=5)
    assert set(run.arrivals) == {f"publisher/{number}" for number in range(5)}
    for times in run.arrivals.values():
        assert len(times) >= 4
        assert run.started < times[0] < times[-1] < run.started + 10
    statistics = run.status["statistics"]
    assert statistics["total_acknowledged"] == sum(map(len, run.arrivals.values()))
    assert run.memory > 10_000_000


@pytest.mark.broker
@pytest.mark.process
def test_a_message_from_another_client_fails_the_measurement(site: PublisherBench) -> None:
    with publishing(site.port) as publish:
        publish("publisher/of-another", "{}", retain=True)
    with pytest.raises(RuntimeError, match="were acknowledged, and"):
        site.observe("observed", count=1, interval=1, seconds=3)


@pytest.mark.broker
@pytest.mark.process
def test_a_publisher_that_ends_by_itself_fails_the_measurement(site: PublisherBench) -> None:
    ended = pytest.raises(RuntimeError, match=r"the publisher of .* exited with code -9")
    with ended, site.publishing("killed", count=1, interval=1) as publisher:
        publisher.process.kill()
        publisher.wait_for_status(lambda _: False)


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("lwt", [False, True])
def test_the_rate_of_the_publisher_is_what_was_due(lwt: bool, site: PublisherBench) -> None:
    measured = site.sustain("rate", count=20, interval=0.2, lwt=lwt)
    assert 60 < measured.rate < 110
    assert measured.published >= 100 * publisher_runs.QUICK_SECONDS * 0.6
    assert measured.failed == 0


def test_lateness_is_counted_from_the_grid_of_the_most_punctual_message() -> None:
    assert arrivals.lateness([7.0, 8.0, 9.0], 1, 3) == [0, 0, 0]
    assert arrivals.lateness([7.25, 8.0, 9.0, 10.25], 1, 3) == [0.25, 0, 0]
    assert arrivals.lateness([7.0, 8.25, 10.0], 1, 5) == [0, 0.25, math.inf, 0, math.inf]
    assert arrivals.lateness([], 1, 2) == [math.inf, math.inf]


def test_an_interval_that_is_not_kept_makes_messages_late_whether_too_long_or_too_short() -> None:
    for kept in (1.01, 0.99):
        late = arrivals.lateness([number * kept for number in range(11)], 1, 11)
        assert max(late) == pytest.approx(0.1)
        assert sum(each <= 0.0101 for each in late) == 2


def test_punctuality_counts_a_lost_message_as_late() -> None:
    lates = [[0, 0.005, 0.02, 0.005], [0, 0, math.inf, 0.005]]
    result = arrivals.punctuality(lates, tolerance=0.01, span=2)
    assert result.within == 75
    assert result.lost == 1
    assert result.high == pytest.approx(20, abs=5)
    assert result.drift == pytest.approx(10 - 1.25)
    with pytest.raises(RuntimeError, match="0 of 2 messages arrived"):
        arrivals.punctuality([[math.inf], [math.inf]], tolerance=0.01, span=1)


def test_the_rate_is_reached_only_if_nothing_was_missed_and_nothing_failed() -> None:
    bench = Bench(Path(), quick=True, postgres=None, mosquitto=True)
    good = Sustained(rate=10_000, missed=0, failed=0, published=300_000, memory=0)
    for change in ({}, {"rate": 9_999}, {"missed": 1}, {"failed": 1}):
        measured = good._replace(**change)
        required = static_publisher._required(bench, measured, 1_600, 30_000)
        assert required.reached is (not change)


def test_the_memory_of_the_publisher_may_be_60_megabytes_and_2_kilobytes_an_entry() -> None:
    for used, entries in ((62_000_000, 1_000), (80_000_000, 10_000)):
        assert static_publisher._memory("memory", used, entries).reached is True
    assert static_publisher._memory("memory", 62_000_001, 1_000).reached is False
