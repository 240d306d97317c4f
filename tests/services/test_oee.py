"""Overall equipment effectiveness, worked out by hand: time counts, not the number of readings."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from services.oee import Effectiveness, StateSample, effectiveness
from streams.stream import Oee
from utils import calendar
from utils.calendar import Span

OEE = Oee("machine_status", "performance_rate", "quality_rate", ("Running", "Slow"), gap=300)
NOON = datetime(2026, 1, 29, 12)
BERLIN = calendar.zone("Europe/Berlin")


def said(
    minutes: float, state: str, performance: float | None = 80, quality: float | None = 90
) -> StateSample:
    """What the machine said so many minutes after noon."""
    return StateSample(NOON + timedelta(minutes=minutes), state, performance, quality)


def minutes(start: float, end: float) -> Span:
    """From so many until so many minutes after noon."""
    return Span(NOON + timedelta(minutes=start), NOON + timedelta(minutes=end))


def found(samples: Sequence[StateSample], *spans: Span) -> Effectiveness:
    """The figures of these spans; of the first hour after noon unless told otherwise."""
    return effectiveness(OEE, samples, spans or [minutes(0, 60)])


def factors(figures: Effectiveness) -> tuple[float | None, ...]:
    """Availability, performance, quality and OEE, to two decimals."""
    four = (figures.availability, figures.performance, figures.quality, figures.oee)
    return tuple(value and round(value, 2) for value in four)


def every(count: int, span: Span, state: str) -> list[StateSample]:
    """The same state all the time, said so many times, both ends included."""
    step = (span.end - span.start) / (count - 1)
    return [StateSample(span.start + i * step, state, 80, 90) for i in range(count)]


def test_oee_is_availability_times_performance_times_quality() -> None:
    figures = found([said(0, "Running"), said(3, "Stopped"), said(4, "Stopped")])
    # 3 of 4 known minutes: 75 %; 0.75 · 0.80 · 0.90 = 54 %
    assert factors(figures) == (75, 80, 90, 54)
    assert (figures.window, figures.known, figures.running) == (3600, 240, 180)
    assert figures.states == {"Running": 180, "Stopped": 60}
    assert figures.coverage == pytest.approx(100 * 4 / 60)


def test_time_counts_and_not_the_number_of_readings() -> None:
    # Four readings say Stopped within a minute, one says Running for four: 4 of 5 minutes are 80 %.
    stopped = [said(minute / 4, "Stopped") for minute in range(4)]
    assert found([*stopped, said(1, "Running"), said(5, "Idle")]).availability == 80


def test_rates_are_means_over_the_time_in_which_the_machine_produced() -> None:
    figures = found(
        [
            said(0, "Running", 60, 100),
            said(3, "Idle", 0, 0),
            said(5, "Slow", 100, 96),
            said(6, "Idle"),
        ]
    )
    # Performance (3 min · 60 + 1 min · 100) / 4 = 70; quality (3 · 100 + 1 · 96) / 4 = 99; availability 4/6.
    assert factors(figures) == (66.67, 70, 99, 46.2)  # 4/6 · 0.70 · 0.99


def test_what_happened_in_a_gap_is_unknown_and_not_stopped() -> None:
    figures = found(
        [said(0, "Running"), said(2, "Running"), said(8, "Stopped"), said(10, "Stopped")]
    )
    # From 12:02 to 12:08 nothing was said, for more than 5 minutes. 2 of 4 known minutes.
    assert (figures.availability, figures.known) == (50, 240)
    assert figures.coverage == pytest.approx(100 * 4 / 60)


@pytest.mark.parametrize(("seconds", "known"), [(300, 300), (300.000001, 0)])
def test_exactly_the_gap_is_still_known(seconds: float, known: float) -> None:
    assert found([said(0, "Running"), said(seconds / 60, "Idle")]).known == known


def test_nothing_is_known_after_the_last_reading() -> None:
    assert found([said(0, "Running"), said(1, "Stopped")]).states == {"Running": 60}


@pytest.mark.parametrize(
    "samples", [[], [said(1, "Running")], [said(0, "Running"), said(30, "Running")]]
)
def test_where_nothing_is_known_nothing_is_said(samples: list[StateSample]) -> None:
    figures = found(samples)
    assert factors(figures) == (None, None, None, None)
    assert (figures.coverage, figures.known, figures.states) == (0, 0, {})


def test_a_machine_that_never_produced_has_an_oee_of_0() -> None:
    assert factors(found([said(0, "Stopped"), said(2, "Idle"), said(4, "Idle")])) == (
        0,
        None,
        None,
        0,
    )


def test_readings_without_a_rate_count_for_availability_only() -> None:
    samples = [
        said(0, "Running", None, 90),
        said(2, "Running", 70, None),
        said(3, "Stopped"),
        said(4, "Stopped"),
    ]
    # Performance is known of one minute, quality of two.
    assert factors(found(samples)) == (75, 70, 90, 47.25)  # 0.75 · 0.70 · 0.90


def test_without_any_rate_there_is_no_oee() -> None:
    samples = [said(0, "Running", None), said(1, "Stopped", None), said(2, "Stopped")]
    assert factors(found(samples)) == (50, None, 90, None)


def test_of_two_readings_at_the_same_time_the_last_one_holds() -> None:
    figures = found(
        [
            said(0, "Stopped"),
            said(1, "Idle"),
            said(1, "Running"),
            said(3, "Idle"),
            said(3, "Stopped"),
        ]
    )
    assert figures.states == {"Stopped": 60, "Running": 120}


def test_what_a_state_lasts_is_clipped_at_both_ends() -> None:
    # Running from 11:58 to 12:01, stopped from 12:59 to 13:03: a minute each.
    samples = [said(-2, "Running"), said(1, "Idle"), said(59, "Stopped"), said(63, "Running")]
    assert found(samples).states == {"Running": 60, "Stopped": 60}


def test_only_the_spans_that_count_are_counted() -> None:
    # Ten minutes running and ten stopped; the spans have 4 of the first and 2 of the second.
    samples = every(11, minutes(0, 10), "Running")[:-1] + every(11, minutes(10, 20), "Stopped")
    figures = found(samples, minutes(2, 5), minutes(9, 12))
    assert (figures.states, figures.window) == ({"Running": 240, "Stopped": 120}, 360)
    assert factors(figures) == (66.67, 80, 90, 48)
    assert figures.coverage == 100


def test_without_any_span_that_counts_nothing_is_known() -> None:
    figures = effectiveness(OEE, [said(0, "Running"), said(1, "Idle")], [])
    assert (figures.window, figures.coverage, figures.availability) == (0, 0, None)


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2026-01-28T12:00", "2026-01-29T12:00", 8),
        ("2026-03-28T12:00", "2026-03-29T12:00", 7),
        ("2026-10-24T12:00", "2026-10-25T12:00", 9),
    ],
)
def test_a_night_shift_is_as_long_as_the_clocks_show(first: str, last: str, hours: int) -> None:
    span = Span(datetime.fromisoformat(first), datetime.fromisoformat(last))
    night = list(calendar.shift("22:00-06:00").within(span, BERLIN))
    figures = found(every(24 * 60 + 1, span, "Running"), *night)  # a reading a minute
    assert figures.window == figures.running == hours * 3600
    assert factors(figures) == (100, 80, 90, 72)


@pytest.mark.long
def test_100_000_readings_give_the_closed_form() -> None:
    # A reading a second, of every four seconds one stopped; the performance rises by 0.001 a second.
    start = NOON
    samples = [
        StateSample(
            start + timedelta(seconds=i), "Stopped" if i % 4 == 3 else "Running", i / 1000, 50
        )
        for i in range(100_001)
    ]
    figures = found(samples, Span(start, start + timedelta(seconds=100_000)))
    assert (figures.availability, figures.coverage, figures.quality) == (75, 100, 50)
    # Σ of 4k, 4k+1 and 4k+2 for k < 25,000 is 12·Σk + 3·25,000.
    performed = (12 * 25_000 * 24_999 / 2 + 3 * 25_000) / 1000 / 75_000
    assert figures.performance == pytest.approx(performed, rel=1e-9)
