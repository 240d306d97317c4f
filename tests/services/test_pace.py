"""The pace of live readings: the first at once, then the newest, so many a second and of each device."""

import random
from itertools import pairwise

from services.feed import Event
from services.pace import Pace

INTERVAL = 0.125  # a power of two, so that sums of it are exact


def reading(number: int, device_id: str = "a", part: str = "") -> Event:
    return Event("reading", device_id, {"id": number}, "sensors", part)


def numbers(events: list[Event]) -> list[int]:
    return [event.payload["id"] for event in events]


def test_the_first_reading_of_each_device_goes_at_once() -> None:
    pace = Pace(INTERVAL)
    assert numbers(pace.take([reading(1, "a"), reading(2, "b")], 100)) == [1, 2]
    assert numbers(pace.take([reading(3, "c")], 100)) == [3]


def test_what_comes_too_soon_is_held_back_and_of_that_only_the_newest_follows() -> None:
    pace = Pace(INTERVAL)
    assert numbers(pace.take([reading(1), reading(2)], 0)) == [1]
    assert numbers(pace.take([reading(3)], INTERVAL / 2)) == []
    assert numbers(pace.take([], INTERVAL)) == [3]
    assert numbers(pace.take([], 100)) == []


def test_one_device_does_not_hold_back_another() -> None:
    pace = Pace(INTERVAL)
    pace.take([reading(1, "a")], 0)
    assert numbers(pace.take([reading(2, "a"), reading(3, "b")], INTERVAL / 2)) == [3]
    assert numbers(pace.take([], INTERVAL)) == [2]


def test_one_metric_does_not_hold_back_another_where_each_has_a_topic() -> None:
    pace = Pace(INTERVAL)
    assert numbers(pace.take([reading(1, part="ampere"), reading(2, part="volt")], 0)) == [1, 2]


def test_what_was_held_back_goes_when_its_time_has_come_and_holds_back_the_next() -> None:
    pace = Pace(INTERVAL)
    pace.take([reading(1)], 0)
    pace.take([reading(2)], INTERVAL / 2)
    assert numbers(pace.take([reading(3)], INTERVAL)) == [2]
    assert numbers(pace.take([], 1.5 * INTERVAL)) == []
    assert numbers(pace.take([], 2 * INTERVAL)) == [3]


def test_a_reading_after_a_pause_goes_at_once() -> None:
    pace = Pace(INTERVAL)
    pace.take([reading(1)], 0)
    assert numbers(pace.take([reading(2)], INTERVAL)) == [2]


def test_it_says_how_long_to_wait_for_what_is_held_back() -> None:
    pace = Pace(INTERVAL)
    assert pace.wait(0) is None
    pace.take([reading(1)], 0)
    assert pace.wait(0) is None
    pace.take([reading(2)], 0)
    assert pace.wait(0) == INTERVAL
    assert pace.wait(INTERVAL / 4) == INTERVAL * 3 / 4
    assert pace.wait(10) == 0
    pace.take([], INTERVAL)
    assert pace.wait(INTERVAL) is None


def test_waiting_as_long_as_it_says_is_always_enough() -> None:
    pace = Pace(0.1)
    now, sent = 1e6, 0
    pace.take([reading(0), reading(1)], now)
    for number in range(2, 200):
        wait = pace.wait(now)
        assert wait is not None
        now += wait
        # In numbers with a point the sum may fall a little short of the time; a second look is enough then.
        went = pace.take([], now) or pace.take([], now + 1e-9)
        sent += len(went)
        pace.take([reading(number)], now + 1e-9)
    assert sent == 198


def test_it_keeps_the_newest_of_every_device_and_no_more_than_its_rate() -> None:
    chance = random.Random(7)
    pace = Pace(INTERVAL)
    went: dict[str, list[tuple[float, int]]] = {}
    last: dict[str, int] = {}
    for number in range(20_000):
        now = number / 1024
        device_id = f"d{chance.randrange(40)}"
        last[device_id] = number
        for event in pace.take([reading(number, device_id)], now):
            went.setdefault(event.device_id, []).append((now, event.payload["id"]))
    for event in pace.take([], 1000):
        went[event.device_id].append((1000, event.payload["id"]))
    assert {device_id: passed[-1][1] for device_id, passed in went.items()} == last
    for passed in went.values():
        assert all(later - earlier >= INTERVAL for (earlier, _), (later, _) in pairwise(passed))
        assert [number for _, number in passed] == sorted(number for _, number in passed)


def test_it_forgets_devices_that_are_silent() -> None:
    pace = Pace(INTERVAL)
    pace.take([reading(number, f"d{number}") for number in range(1000)], 0)
    pace.take([reading(1000)], 1)
    assert list(pace._recent) == [("reading", "sensors", "a", "")]
