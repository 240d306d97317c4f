"""The schedule of the static publisher: times are kept, whatever happens in between, and nothing comes in a burst."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from publisher.schedule import Appointment, Schedule


def due(schedule: Schedule[str], now: float, most: int = 100) -> list[tuple[str, int]]:
    return list(schedule.due(now, most))


def test_each_thing_is_due_at_its_first_time_and_then_at_its_own_interval() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("slow", 10, 2)
    schedule.add("fast", 10, 0.5)
    seen = [(now / 2, name) for now in range(19, 27) for name, _ in due(schedule, now / 2)]
    assert [now for now, name in seen if name == "slow"] == [10, 12]
    assert [now for now, name in seen if name == "fast"] == [10, 10.5, 11, 11.5, 12, 12.5, 13]


def test_it_says_how_long_to_wait_for_the_next() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.wait(0) is None
    schedule.add("a", 10, 2)
    assert schedule.wait(7.5) == 2.5
    assert schedule.wait(11) == 0
    due(schedule, 11)
    assert schedule.wait(11) == 1


def test_after_a_pause_it_is_due_once_and_tells_how_many_times_went_by() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0, 1)
    assert due(schedule, 0.9) == [("a", 0)]
    assert due(schedule, 1) == [("a", 0)], "what was late does not make the next one late"
    assert due(schedule, 10.5) == [("a", 8)]
    assert due(schedule, 10.5) == []
    assert due(schedule, 11) == [("a", 0)]


def test_a_million_times_later_no_error_has_added_up() -> None:
    schedule: Schedule[str] = Schedule()
    appointment = schedule.add("a", 0.3, 0.1)
    appointment.step(100_000.35)
    assert abs(appointment.due - 100_000.4) < 1e-9


def test_only_so_many_are_given_at_once_and_the_rest_is_still_due() -> None:
    schedule: Schedule[str] = Schedule()
    for name in "abc":
        schedule.add(name, 0, 1)
    first = due(schedule, 0, most=2)
    assert len(first) == 2
    assert sorted(first + due(schedule, 0, most=2)) == [("a", 0), ("b", 0), ("c", 0)]


def test_what_is_cancelled_is_not_due_any_more() -> None:
    schedule: Schedule[str] = Schedule()
    gone = schedule.add("gone", 0, 1)
    schedule.add("stays", 0, 1)
    schedule.cancel(gone)
    assert due(schedule, 0) == [("stays", 0)]
    assert due(schedule, 1) == [("stays", 0)]


def test_what_is_cancelled_is_let_go_of_though_it_would_be_due_only_in_a_year() -> None:
    class Thing:
        """Something that can be seen to go."""

    schedule: Schedule[Thing] = Schedule()
    thing = Thing()
    gone = weakref.ref(thing)
    appointment = schedule.add(thing, 31_536_000, 1)
    schedule.add(Thing(), 0, 1)
    schedule.add(Thing(), 0, 1)
    schedule.cancel(appointment)
    del thing
    assert gone() is None


def test_appointments_that_are_made_and_cancelled_for_ever_need_no_more_memory() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("stays", 0, 1)
    gc.collect()
    before = appointments()
    for _ in range(1000):
        schedule.cancel(schedule.add("comes and goes", 1000, 1))
    assert appointments() < before + 10
    assert due(schedule, 2000) == [("stays", 2000)]


def appointments() -> int:
    """How many there are in this process."""
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
