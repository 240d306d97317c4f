"""Counters of meters: wrong readings are left out, and a counter that begins again counts."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate, count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.counters import MOST, Sample, plausible
from tests.support import EXAMPLES

GAP = 900.0
START = datetime(2026, 1, 29)
NEAR, FAR = 300.0, 3600.0
"""Seconds between two readings: several within the gap, or none."""


def series(values: list[float], seconds: float) -> list[Sample]:
    """Readings so many seconds apart."""
    return [
        (START + timedelta(seconds=seconds * number), value) for number, value in enumerate(values)
    ]


def kept(values: list[float], seconds: float) -> list[float]:
    """The values that are plausible."""
    return [value for _, value in plausible(series(values, seconds), GAP)]


@pytest.mark.parametrize("seconds", [1.0, NEAR, 600.0, FAR, 86_400.0])
@pytest.mark.parametrize(
    "wrong",
    [
        [0], [99999999], [1e308], [-1], [50], [200], [10], [0, 0], [0, 0, 0], [99999999] * 2, [99999999] * 3, [50, 50],
        [0, 50], [50, 0], [0, 99999999], [99999999, 0], [99999999, 5000], [5000, 99999999], [50, 99999999],
        [99999999, 50], [0, -1, 99999999], [200, 200], [105], [102.5], [109.9], [105, 105], [108, 104], [104, 106, 105],
    ],
    ids=str,
)  # fmt: skip
def test_wrong_readings_are_left_out(wrong: list[float], seconds: float) -> None:
    before, after = [99.6, 99.7, 99.8, 99.9, 100.0], [100.2, 100.3, 100.4, 100.5, 100.6]
    assert kept(before + wrong + after, seconds) == before + after


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([100, 101, 102, 0, 1, 2, 3, 4, 5], id="to 0 and counting on"),
        pytest.param([100, 101, 102, 0, 0, 0, 0, 0, 0, 1], id="to 0, and then nothing is used"),
        pytest.param([100, 101, 102, 0.5, 1.5, 2.5, 3.5, 4.5], id="a little was used since"),
        pytest.param([100, 101, 102, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5], id="twice"),
        pytest.param([0, 1, 2, 0, 1, 2, 0, 1, 2], id="again and again"),
        pytest.param([0, 5, 10, 15, 20, 0, 5, 10, 15], id="a fast one"),
        pytest.param([100, 99.5, 100, 100.5, 95, 101], id="jitter"),
        pytest.param([100, 101, 150, 151, 152, 153], id="much was used at once"),
        pytest.param([100, 101, 5000, 5001, 5002], id="very much was used at once"),
        pytest.param([100, 100, 100], id="nothing is used"),
        pytest.param([0, 0, 0, 0.1], id="a new one"),
        pytest.param([100], id="a single one"),
        pytest.param([], id="none"),
    ],
)
@pytest.mark.parametrize("seconds", [600.0, FAR])
def test_what_a_counter_can_have_shown_is_kept(values: list[float], seconds: float) -> None:
    assert kept(values, seconds) == values


def test_it_may_be_gone_for_as_long_as_the_gap() -> None:
    before, after = (
        [100 + number / 1000 for number in range(1000)],
        [101 + number / 1000 for number in range(1000)],
    )
    assert kept(before + [0.0] * 890 + after, 1.0) == before + after
    assert kept(before + [0.0] * 910 + after, 1.0) == before + [0.0] * 910 + after


STEPS = st.lists(st.floats(0, 1), min_size=20, max_size=60)
WRONG = st.sampled_from([0.0, 99999999.0, 1e9, -5.0, 0.5])
"""Of these 0.5 is a part of what the counter shows."""


@settings(deadline=None, max_examples=3 * EXAMPLES)
@given(
    first=st.floats(100, 1e6), steps=STEPS, seconds=st.sampled_from([1.0, NEAR, 600.0, FAR]),
    runs=st.lists(st.tuples(st.integers(0, 1), st.lists(WRONG, min_size=1, max_size=2)), max_size=4),
)  # fmt: skip
def test_glitches_in_a_counter_that_counts_change_nothing_else(
    first: float, steps: list[float], seconds: float, runs: list[tuple[int, list[float]]]
) -> None:
    right = series(list(accumulate(steps, initial=first)), seconds)
    given, expected = list(right), list(right)
    for number, (offset, wrong) in enumerate(runs):
        # Some right readings between two runs, and around all of them.
        place = 4 + number * 5 + offset
        if place + len(wrong) + 4 > len(right):
            break
        for index, value in enumerate(wrong, place):
            given[index] = right[index][0], value * right[index][1] if value == 0.5 else value
            expected.remove(right[index])
    assert list(plausible(given, GAP)) == expected


@settings(deadline=None, max_examples=2 * EXAMPLES)
@given(lengths=st.lists(st.integers(20, 40), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_a_counter_that_begins_again_is_never_taken_for_a_glitch(
    lengths: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    values = [
        value
        for length in lengths
        for value in accumulate((chance.uniform(1, 2) for _ in range(length)), initial=0)
    ]
    for seconds in (600.0, FAR):
        assert kept(values, seconds) == values


def test_it_looks_at_a_bounded_number_of_readings_together() -> None:
    taken = 0

    def counting() -> Iterator[Sample]:
        nonlocal taken
        for number in count():
            taken += 1
            yield START + timedelta(milliseconds=number), float(number)

    for place, sample in enumerate(islice(plausible(counting(), GAP), 10_000)):
        assert sample[1] == place
        assert taken - place <= MOST + 2
