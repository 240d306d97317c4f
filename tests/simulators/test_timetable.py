"""Which simulated board measures when."""

import time
from collections import Counter

import pytest

from simulators.timetable import Timetable
from utils import clock


class SteppedClock:
    """Replaces `time`: `monotonic` is what has passed, `set_by` is how far the wall clock was set meanwhile."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.set_by = 0.0

    def monotonic(self) -> float:
        return self.passed

    def time(self) -> float:
        return 1_000_000.0 + self.passed + self.set_by


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    made = SteppedClock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(time, "time", made.time)
    return made


def started(boards: int, rate: float) -> Timetable:
    timetable = Timetable(boards, rate)
    timetable.start()
    return timetable


def due(
    timetable: Timetable, most: int = 1000, away: int | None = None, full: int | None = None
) -> list[int]:
    return [
        b for b, _ in timetable.due(most, lambda board: board != away, lambda board: board != full)
    ]


def counted(timetable: Timetable, now: SteppedClock, seconds: int) -> Counter[int]:
    """How often each board measures in so many seconds."""
    seen: Counter[int] = Counter()
    for _ in range(seconds * 10):
        now.passed += 0.1
        seen.update(due(timetable))
    return seen


def test_the_boards_are_evenly_spaced(now: SteppedClock) -> None:
    timetable = started(4, rate=4)
    assert due(timetable) == [0]
    assert timetable.wait() == 0.25
    now.passed += 0.75
    assert due(timetable) == [1, 2, 3]
    assert timetable.wait() == 0.25


def test_without_a_limit_the_boards_take_turns(now: SteppedClock) -> None:
    timetable = started(3, rate=0)
    assert due(timetable, most=4) == [0, 1, 2, 0]
    assert due(timetable, most=4) == [1, 2, 0, 1]
    assert timetable.wait() == 0


def test_without_a_limit_a_board_that_is_away_loses_its_turn_and_one_without_room_is_waited_for(
    now: SteppedClock,
) -> None:
    timetable = started(3, rate=0)
    assert due(timetable, most=4, away=1) == [0, 2, 0, 2]
    assert due(timetable, most=4, full=1) == [0]
    assert timetable.wait() > 0


def test_a_changed_interval_is_that_boards_alone(now: SteppedClock) -> None:
    timetable = started(3, rate=3)
    timetable.change(1, 0.2)
    assert counted(timetable, now, 10) == pytest.approx({0: 10, 1: 50, 2: 10}, abs=1)
    timetable.change(1, 5)
    assert counted(timetable, now, 10) == pytest.approx({0: 10, 1: 2, 2: 10}, abs=1)
    timetable.reset(1)
    assert counted(timetable, now, 10) == pytest.approx({0: 10, 1: 10, 2: 10}, abs=1)


def test_an_interval_also_takes_a_board_out_of_the_turns_and_a_reset_puts_it_back(
    now: SteppedClock,
) -> None:
    timetable = started(2, rate=0)
    timetable.change(0, 1)
    assert due(timetable, most=3) == [1, 1, 1]
    now.passed += 1
    assert due(timetable, most=3) == [0, 1, 1]
    timetable.reset(0)
    timetable.reset(0)
    assert sorted(due(timetable, most=4)) == [0, 0, 1, 1]


def test_a_board_that_was_away_leaves_out_what_it_missed_but_the_latest(now: SteppedClock) -> None:
    timetable = started(1, rate=1)
    assert due(timetable) == [0]
    now.passed += 10.5
    assert due(timetable, away=0) == []
    assert timetable.wait() > 0
    times = [moment for _, moment in timetable.due(10, lambda _: True, lambda _: True)]
    assert [(clock.now() - moment).total_seconds() > 0 for moment in times] == [True]
    assert timetable.wait() == pytest.approx(0.5)


def test_a_board_that_is_late_by_less_than_a_second_catches_up(now: SteppedClock) -> None:
    timetable = started(1, rate=10)
    now.passed += 0.95
    assert due(timetable) == [0] * 10


def test_the_readings_follow_the_clock_when_it_is_set(now: SteppedClock) -> None:
    timetable = started(1, rate=1)
    first = [moment for _, moment in timetable.due(1, lambda _: True, lambda _: True)]
    now.passed, now.set_by = now.passed + 1, -3600
    second = [moment for _, moment in timetable.due(1, lambda _: True, lambda _: True)]
    assert (second[0] - first[0]).total_seconds() == -3599
