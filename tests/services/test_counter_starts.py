"""Counters that start with a wrong reading, are reset or are replaced: what is counted and what is unknown."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate

import pytest

from services.counters import MOST, Sample, steps
from services.energy import counter_pieces

GAP = 900.0
START = datetime(2026, 1, 29)
WRONG = 99999999.0


def rising(first: float, count: int = 30, step: float = 0.1) -> list[float]:
    """A counter that counts so much from one reading to the next."""
    return [round(first + step * number, 4) for number in range(count)]


def found(values: list[float], seconds: list[float]) -> tuple[float, float]:
    """The energy, and how many seconds of the time nothing is known of."""
    times = list(accumulate(seconds, initial=0.0))
    samples: list[Sample] = [
        (START + timedelta(seconds=at), value) for at, value in zip(times, values, strict=True)
    ]
    pieces = list(counter_pieces(samples, GAP))
    energy = sum(piece.joules(piece.span) for piece in pieces) / 3_600_000
    return round(energy, 6), round(times[-1] - sum(piece.span.seconds for piece in pieces), 6)


def evenly(values: list[float], seconds: float = 600.0) -> tuple[float, int]:
    """The same of readings that are so many seconds apart, and how many steps nothing is known of."""
    energy, unknown = found(values, [seconds] * (len(values) - 1))
    return energy, round(unknown / seconds)


@pytest.mark.parametrize("seconds", [10.0, 600.0, 3600.0, 86_400.0])
@pytest.mark.parametrize(
    "wrong",
    [
        [WRONG],
        [WRONG] * 2,
        [WRONG] * 3,
        [0],
        [0, 0],
        [0, 0, 0],
        [12],
        [5000],
        [WRONG, 5000000],
        [WRONG, 0],
        [0, WRONG],
    ],
    ids=str,
)
def test_a_wrong_first_reading_is_no_energy(wrong: list[float], seconds: float) -> None:
    energy, unknown = evenly(wrong + rising(13424.8), seconds)
    assert energy == 2.9
    assert 1 <= unknown <= len(wrong)


@pytest.mark.parametrize("wrong", [WRONG, 0])
@pytest.mark.parametrize("idle", [3, 30, 300])
def test_a_wrong_first_reading_of_a_counter_that_stands_still_is_no_energy(
    wrong: float, idle: int
) -> None:
    assert evenly([wrong] + [13424.8] * idle + rising(13424.8)) == (2.9, 1)
    assert evenly([wrong] + [13424.8] * idle) == (0, 1)


@pytest.mark.parametrize(
    ("values", "energy"),
    [
        pytest.param(
            [*rising(499.8, 3), 0.1, 0.3, 0.4],
            0.2 + 0.1 + 0.3,
            id="with a little that was used since",
        ),
        pytest.param([*rising(499.8, 3), 0, 0, 0, 0.1], 0.2 + 0.1, id="to 0, and little is used"),
        pytest.param([500, 500, 500, 0, 0, 0], 0, id="to 0, and nothing is used"),
        pytest.param(
            [*rising(499.8, 3), 0.9, 1.0, 1.1],
            0.2 + 0.9 + 0.2,
            id="with nine times as much as is usual",
        ),
        pytest.param([500, 0.1, 0.3, 0.4], 0.4, id="after the first reading"),
        pytest.param([0, 5, 10, 15, 0, 5, 10, 15, 0, 5], 35, id="again and again"),
        pytest.param([500, 0.5], 0.5, id="of which nothing else is known"),
    ],
)
def test_what_a_counter_shows_that_began_again_was_used(values: list[float], energy: float) -> None:
    assert evenly(values) == pytest.approx((energy, 0))


@pytest.mark.parametrize(
    ("days", "shown"),
    [pytest.param(30, 80.0, id="thirty days"), pytest.param(1 / 24, 1.0, id="an hour")],
)
@pytest.mark.parametrize("units", [0.1, 0.001])
def test_after_a_long_silence_a_counter_that_began_again_may_show_much(
    days: float, shown: float, units: float
) -> None:
    # One kilowatt, every ten seconds: in tenths of a kilowatt-hour it counts only every sixth minute.
    before, after = (
        [first + number // (units * 360) * units for number in range(100)]
        for first in (500.0, shown)
    )
    used = sum(values[-1] - values[0] for values in (before, after)) + shown
    assert found(before + after, [10.0] * 99 + [86_400 * days] + [10.0] * 99) == pytest.approx(
        (used, 0)
    )


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0, 0.1, 0.3, 0.5, 0.6, 0.7], id="at once"),
        pytest.param([0] * 10 + [0.1, 0.2], id="after a while"),
        pytest.param([0] * 10 + [1.8] * 30, id="after a while, much and then nothing"),
        pytest.param([0, 5], id="and there is nothing else"),
        pytest.param([0.2, 0.2, 0.2, 0.2, 0.9, 1.0], id="seven times as much as is usual"),
    ],
)
def test_a_new_counter_counts_from_the_start(values: list[float]) -> None:
    assert evenly(values) == pytest.approx((values[-1] - values[0], 0))


@pytest.mark.parametrize(
    "day",
    [
        pytest.param([0] * 42 + [0.17] * 30 + [0.34] * 72, id="a kettle"),
        pytest.param([0] * 42 + [3.7] * 102, id="a car once a day"),
        pytest.param(
            rising(0, 42, 0.0008) + rising(0.1736, 102, 0.0008), id="a kettle beside what stands by"
        ),
    ],
)
def test_a_counter_of_the_day_counts_what_is_used_in_ten_minutes_only(day: list[float]) -> None:
    assert evenly(day * 5) == pytest.approx((5 * day[-1], 0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(rising(20000), rising(13424.8), id="that shows less"),
        pytest.param(rising(500), rising(13424.8), id="that shows more"),
        pytest.param(rising(20000), rising(0), id="that is new"),
    ],
)
@pytest.mark.parametrize("seconds", [600.0, 3600.0])
def test_a_meter_that_is_replaced_by_another_goes_on_from_what_that_shows(
    before: list[float], after: list[float], seconds: float
) -> None:
    energy, unknown = evenly(before + after, seconds)
    assert energy == pytest.approx(2.9 + 2.9)
    assert unknown == (1 if after[0] else 0)


def test_wrong_readings_for_longer_than_the_gap_are_no_energy_on_the_way_back() -> None:
    for wrong in (0.0, WRONG):
        assert evenly(rising(13424.8) + [wrong] * 10 + rising(13427.8))[0] == pytest.approx(
            2.9 + 2.9
        )


def test_of_a_counter_that_stands_still_a_bounded_number_of_readings_is_looked_at_together() -> (
    None
):
    taken = 0

    def standing() -> Iterator[Sample]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield START + timedelta(seconds=number), 0.0 if number == 0 else 500.0

    for place, _ in enumerate(steps(standing())):
        assert taken - place <= MOST + 3


def test_the_newest_reading_is_not_believed_where_it_cannot_have_been_counted() -> None:
    for wrong in (WRONG, 5000):
        assert evenly([*rising(13424.8), wrong]) == (2.9, 1)
    assert evenly([*rising(13424.8), 13437.7]) == pytest.approx((12.9, 0))
