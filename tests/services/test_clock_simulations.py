"""Simulated devices of every clock and kind of lateness are judged as they were made."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest

from services.clock_judgement import judge
from tests.services.clock_simulations import (
    HOUR,
    ClockedDevice,
    MakeClock,
    at_random,
    drifting,
    in_turn,
    jitter,
    on_time,
    outage,
    retransmissions,
    simulated,
    some_late,
    steady,
)

ZONES = (-12, -3.5, -1, 2, 5.75, 14)
DEVICES = {
    "right": ClockedDevice(steady(0), "right"),
    "20 s ahead": ClockedDevice(steady(20), "right"),
    "not set": ClockedDevice(lambda _: lambda _: None, "not_set"),
    **{f"zone {hours:+}": ClockedDevice(steady(hours * HOUR), "zone") for hours in ZONES},
    **{f"drift {s:+}": ClockedDevice(drifting(s), "drifting") for s in (-0.05, -0.01, 0.01, 0.05)},
    "500 s ahead": ClockedDevice(steady(500), "drifting"),
    "800 s behind": ClockedDevice(steady(-800), "drifting"),
    "hourly meter": ClockedDevice(steady(0), "right", states_beginnings=True),
}
SHARED = {
    "right and an hour ahead": (0, HOUR),
    "right and an hour behind": (0, -HOUR),
    "an hour and two ahead": (HOUR, 2 * HOUR),
    "an hour behind and ahead": (-HOUR, HOUR),
    "one of three ahead": (0, 0, HOUR),
    "one of three behind": (0, 0, -HOUR),
}
DELAYS = {
    "on time": on_time,
    "jitter": jitter,
    "some late by minutes": some_late(0.3, 600),
    "some late by hours": some_late(0.3, 4 * HOUR),
    "most late by hours": some_late(0.6, 4 * HOUR),
    "after an outage": outage(0.7, 2),
    "a backlog at last": outage(1, 2),
    "a backlog at once": outage(1, 1000),
    "retransmissions": retransmissions,
}
pytestmark = pytest.mark.long
INTERVALS = (10, 60, 300, 900, 3600)
SEEDS = range(3)


def misjudged(
    device: ClockedDevice,
    late: str,
    intervals: Sequence[float],
    counts: Sequence[int],
    *others: None,
) -> list[tuple[float, int, int, str | None]]:
    """Interval, number of readings, seed and verdict, where a device is judged in another way."""
    wrong: list[tuple[float, int, int, str | None]] = []
    for every, count, seed in product(intervals, counts, SEEDS):
        judgement = judge(simulated(device, DELAYS[late], every, count, seed))
        found = judgement and judgement.looks_like
        if found not in (device.expected, *others):
            wrong.append((every, count, seed, found))
    return wrong


@pytest.mark.parametrize("late", DELAYS)
@pytest.mark.parametrize("name", DEVICES)
def test_a_clock_is_judged_as_it_is_made(name: str, late: str) -> None:
    assert misjudged(DEVICES[name], late, INTERVALS, (20, 50)) == []


@pytest.mark.parametrize("late", DELAYS)
@pytest.mark.parametrize("name", DEVICES)
def test_of_few_readings_a_clock_is_judged_as_it_is_made_or_not_at_all(
    name: str, late: str
) -> None:
    assert misjudged(DEVICES[name], late, INTERVALS, (3, 4, 6, 10), None) == []


@pytest.mark.parametrize("late", [late for late in DELAYS if late != "most late by hours"])
@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("clocks", [in_turn, at_random])
def test_devices_with_one_id_jump(clocks: Callable[..., MakeClock], name: str, late: str) -> None:
    """At longer intervals than the clocks differ by, the stated times go on as those of one clock."""
    device = ClockedDevice(clocks(*SHARED[name]), "jumping")
    assert misjudged(device, late, INTERVALS[:-1], (50,)) == []
