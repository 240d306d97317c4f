"""Simulated devices: what their clocks say, and how late their messages come."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import NamedTuple

from services.clock_judgement import Sighting
from tests.parsing import RECEIVED

HOUR = 3600.0
Clock = Callable[[float], float | None]
"""The offset of a device's clock at a time in seconds, None if it is not set."""
MakeClock = Callable[[Random], Clock]
Delays = Callable[[Random, list[float]], list[float]]
"""The seconds that each of the messages takes that are measured at some times."""


class ClockedDevice(NamedTuple):
    """A device, and how its clock is to look."""

    clock: MakeClock
    expected: str
    states_beginnings: bool = False


def steady(offset: float) -> MakeClock:
    """A clock that is off by the same time."""
    return lambda _: lambda _: offset


def drifting(speed: float) -> MakeClock:
    """A clock that was right long ago."""
    return lambda _: lambda at: speed * (at + 7 * HOUR)


def in_turn(*offsets: float) -> MakeClock:
    """Devices with one id that send one after the other."""

    def made(_: Random) -> Clock:
        count = 0

        def clock(_: float) -> float:
            nonlocal count
            count += 1
            return offsets[count % len(offsets)]

        return clock

    return made


def at_random(*offsets: float) -> MakeClock:
    """Devices with one id, of which any sends next."""
    return lambda random: lambda _: random.choice(offsets)


def on_time(_: Random, measured: list[float]) -> list[float]:
    return [0.2 for _ in measured]


def jitter(random: Random, measured: list[float]) -> list[float]:
    return [random.expovariate(1 / 2) for _ in measured]


def some_late(share: float, longest: float) -> Delays:
    """Some messages come late, by up to a time."""

    def delays(random: Random, measured: list[float]) -> list[float]:
        found = []
        for at in measured:
            delay = random.uniform(60, longest)
            is_late = random.random() < share and at + delay < measured[-1]
            found.append(delay if is_late else random.uniform(0.1, 3))
        return found

    return delays


def outage(until: float, speed: float) -> Delays:
    """Of messages to the middle or the end none arrives; then they come one after another."""

    def delays(random: Random, measured: list[float]) -> list[float]:
        count = len(measured)
        first, last = int(count * (until - 0.4)), int(count * until) - 1
        back = measured[last]
        found = []
        for number, at in enumerate(measured):
            held = back + (number - first) / speed - at if number >= first else 0
            found.append(max(held, 0) + random.uniform(0.1, 1))
        return found

    return delays


def retransmissions(random: Random, measured: list[float]) -> list[float]:
    """One of four is sent again after a time-out, once or more often."""
    return [30 * random.choice((0, 0, 0, 1, 2)) + random.uniform(0.1, 1) for _ in measured]


def simulated(
    device: ClockedDevice, delays: Delays, every: float, count: int, seed: int
) -> list[Sighting]:
    """The last readings of a device in the order in which they were stored."""
    random = Random(seed)
    clock = device.clock(random)
    start = RECEIVED.replace(minute=0, second=0, microsecond=0) + timedelta(
        seconds=0 if device.states_beginnings else random.uniform(0, 86_400)
    )
    wobble = 0 if device.states_beginnings else every / 20
    measured = [number * every + random.uniform(0, wobble) for number in range(count)]
    late = delays(random, measured)
    found: list[Sighting] = []
    for at, delay in zip(measured, late, strict=True):
        offset = clock(at)
        if offset is not None:
            offset -= delay + (every if device.states_beginnings else 0)
        found.append(Sighting(start + timedelta(seconds=at + delay), offset))
    return sorted(found, key=lambda one: one.received)
