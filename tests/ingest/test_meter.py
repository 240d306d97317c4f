"""How fast messages are stored, over the last minute."""

import pytest

from ingest.meter import IngestRates, Meter


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows what stands in it."""
    shown = [1000.0]
    monkeypatch.setattr("ingest.meter.time.monotonic", lambda: shown[0])
    return shown


def test_before_there_was_a_message_the_rate_is_0_and_the_time_unknown(
    seconds: list[float],
) -> None:
    assert seconds
    assert Meter().figures() == IngestRates(0.0, None)


def test_it_is_the_mean_of_the_time_since_the_start(seconds: list[float]) -> None:
    measured = Meter()
    seconds[0] += 10
    measured.add(messages=30, seconds=0.06)
    assert measured.figures() == IngestRates(3.0, 2.0)


def test_what_is_older_than_a_minute_no_longer_counts(seconds: list[float]) -> None:
    measured = Meter()
    measured.add(messages=6000, seconds=60)
    seconds[0] += 61
    measured.add(messages=60, seconds=0.06)
    assert measured.figures() == IngestRates(1.0, 1.0)
    seconds[0] += 61
    assert measured.figures() == IngestRates(0.0, None)
