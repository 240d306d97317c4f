"""The schedule of the static publisher keeps its times, whatever happens in between, without bursts."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.schedule import Appointment, Schedule


@pytest.fixture
def schedule() -> Schedule[str]:
    return Schedule()


def due(schedule: Schedule[str], now: float, most: int = 100) -> list[tuple[str, int]]:
    return list(schedule.due(now, most))


def test_a_thing_is_due_at_its_first_time_and_then_at_its_interval(schedule: Schedule[str]) -> None:
    schedule.add("slow", 10, 2)
    schedule.add("fast", 10, 0.5)
    seen = [(now / 2, name) for now in range(19, 27) for name, _ in due(schedule, now / 2)]
    assert [now for now, name in seen if name == "slow"] == [10, 12]
    assert [now for now, name in seen if name == "fast"] == [10, 10.5, 11, 11.5, 12, 12.5, 13]


def test_it_knows_how_long_to_wait_for_the_next(schedule: Schedule[str]) -> None:
    assert schedule.wait(0) is None
    schedule.add("a", 10, 2)
    assert schedule.wait(7.5) == 2.5
    assert schedule.wait(11) == 0
    due(schedule, 11)
    assert schedule.wait(11) == 1


def test_after_a_pause_a_thing_is_due_once_with_the_times_left_out(schedule: Schedule[str]) -> None:
    schedule.add("a", 0, 1)
    assert due(schedule, 0.9) == [("a", 0)]
    assert due(schedule, 1) == [("a", 0)], "what was late does not make the next one late"
    assert due(schedule, 10.5) == [("a", 8)]
    assert due(schedule, 10.5) == []
    assert due(schedule, 11) == [("a", 0)]


def test_a_million_times_later_no_error_has_added_up(schedule: Schedule[str]) -> None:
    appointment = schedule.add("a", 0.3, 0.1)
    appointment.step(100_000.35)
    assert abs(appointment.due - 100_000.4) < 1e-9


def test_at_most_so_many_are_given_and_the_others_are_still_due(schedule: Schedule[str]) -> None:
    for name in "abc":
        schedule.add(name, 0, 1)
    first = due(schedule, 0, most=2)
    assert len(first) == 2
    assert sorted(first + due(schedule, 0, most=2)) == [("a", 0), ("b", 0), ("c", 0)]


def test_what_is_cancelled_is_no_longer_due(schedule: Schedule[str]) -> None:
    gone = schedule.add("gone", 0, 1)
    schedule.add("stays", 0, 1)
    schedule.cancel(gone)
    assert due(schedule, 0) == [("stays", 0)]
    assert due(schedule, 1) == [("stays", 0)]


def test_what_is_cancelled_is_released_even_if_it_is_due_in_a_year() -> None:
    schedule: Schedule[set[str]] = Schedule()
    thing = {"a"}
    gone = weakref.ref(thing)
    appointment = schedule.add(thing, 31_536_000, 1)
    for _ in range(2):
        schedule.add(set(), 0, 1)
    schedule.cancel(appointment)
    del thing
    assert gone() is None


def test_cancelled_appointments_take_no_memory(schedule: Schedule[str]) -> None:
    schedule.add("stays", 0, 1)
    gc.collect()
    before = appointments()
    for _ in range(1000):
        schedule.cancel(schedule.add("comes and goes", 1000, 1))
    assert appointments() < before + 10
    assert due(schedule, 2000) == [("stays", 2000)]


def appointments() -> int:
    """How many appointments there are in this process."""
    return sum(isinstance(one, Appointment) for one in gc.get_objects())


@given(
    interval=st.floats(0.001, 100),
    first=st.floats(0, 1000),
    pauses=st.lists(st.floats(0, 500), min_size=1, max_size=30),
)
def test_every_time_is_either_given_or_counted_as_left_out(
    interval: float, first: float, pauses: list[float]
) -> None:
    schedule: Schedule[str] = Schedule()
    appointment = schedule.add("a", first, interval)
    now, times = first, 0
    for pause in pauses:
        now += pause
        given_now = due(schedule, now)
        assert len(given_now) <= 1
        times += sum(left_out + 1 for _, left_out in given_now)
        assert now < appointment.due <= now + interval * (1 + 1e-9) + 1e-9
    assert times == round((appointment.due - first) / interval)
