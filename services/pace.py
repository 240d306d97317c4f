"""Limit the rate of live readings per device by coalescing faster updates to the newest."""

from collections.abc import Iterable

from services.feed import Event


class Pace:
    """Holds back events that follow too soon on one with the same key; the newest passes later."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        # By key, when an event last passed, the earliest first.
        self._recent: dict[tuple[str, ...], float] = {}
        self._parked: dict[tuple[str, ...], Event] = {}

    def take(self, events: Iterable[Event], now: float) -> list[Event]:
        """Return the new and parked events that may pass; `now` is in seconds."""
        passed = self._due(now)
        for event in events:
            if event.key in self._recent:
                self._parked[event.key] = event.replacing(self._parked.get(event.key))
            else:
                passed.append(self._let(event, now))
        return passed

    def wait(self, now: float) -> float | None:
        """Return the seconds until a parked event may pass; None without one."""
        if not self._parked:
            return None
        return max(0.0, next(iter(self._recent.values())) + self._interval - now)

    def _due(self, now: float) -> list[Event]:
        over = [key for key, _ in zip(self._recent, self._overdue(now), strict=False)]
        for key in over:
            del self._recent[key]
        return [self._let(self._parked.pop(key), now) for key in over if key in self._parked]

    def _overdue(self, now: float) -> Iterable[float]:
        for timestamp in self._recent.values():
            if timestamp + self._interval > now:
                return
            yield timestamp

    def _let(self, event: Event, now: float) -> Event:
        self._recent[event.key] = now
        return event
