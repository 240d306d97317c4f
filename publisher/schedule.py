"""The schedule: recurring appointments, each at its own interval; it reads no clock."""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Appointment(Generic[T]):
    """A thing that is due at `first` and every `interval` seconds after it."""

    __slots__ = ("_first", "_interval", "_number", "thing")

    def __init__(self, thing: T, first: float, interval: float) -> None:
        self.thing: T | None = thing  # None when it is cancelled
        self._first = first
        self._interval = interval
        self._number = 0

    @property
    def due(self) -> float:
        """When it is due next, computed from the first time so that errors do not add up."""
        return self._first + self._number * self._interval

    def __lt__(self, other: "Appointment[T]") -> bool:
        """Order two that are due at the same time, as the heap needs it."""
        return id(self) < id(other)

    def step(self, now: float) -> int:
        """Advance to the next time after `now`; return how many times were left out."""
        before = self._number
        self._number += int((now - self.due) / self._interval) + 1
        if self.due <= now:  # the quotient was rounded down
            self._number += 1
        return self._number - before - 1


class Schedule(Generic[T]):
    """All appointments; times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Appointment[T]]] = []
        self._cancelled = 0

    def add(self, thing: T, first: float, interval: float) -> Appointment[T]:
        """Make an appointment."""
        made = Appointment(thing, first, interval)
        heapq.heappush(self._heap, (made.due, made))
        return made

    def cancel(self, appointment: Appointment[T]) -> None:
        """Cancel an appointment, and release its thing now, even if it is due in a year."""
        appointment.thing = None
        self._cancelled += 1
        if 2 * self._cancelled > len(self._heap):
            self._heap = [item for item in self._heap if item[1].thing is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def due(self, now: float, most: int) -> Iterator[tuple[T, int]]:
        """Yield up to `most` due things, each once, with how many of its times were left out."""
        while most > 0 and self._heap and self._heap[0][0] <= now:
            _, appointment = heapq.heappop(self._heap)
            if appointment.thing is None:
                self._cancelled -= 1
                continue
            left_out = appointment.step(now)
            heapq.heappush(self._heap, (appointment.due, appointment))
            most -= 1
            yield appointment.thing, left_out

    def wait(self, now: float) -> float | None:
        """Return the seconds until the next thing is due; None if there is none."""
        return max(0.0, self._heap[0][0] - now) if self._heap else None
