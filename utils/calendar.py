"""Local time: hours and shifts of a time zone as naive UTC, daylight saving included."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from utils.clock import naive_utc

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
_SHIFT = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)


class Span(NamedTuple):
    """A time from `start` until before `end`, both naive UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()

    def widened(self, seconds: float) -> "Span":
        """The same with so many seconds more on either side."""
        more = timedelta(seconds=seconds)
        return Span(self.start - more, self.end + more)


class Shift(NamedTuple):
    """Hours of the day, from `start` until before `end`: on the day after, unless `end` is later than `start`."""

    start: time
    end: time

    def within(self, span: Span, zone: ZoneInfo) -> Iterator[Span]:
        """When the clocks of a zone show these hours, oldest first, clipped to a span."""
        day, last = local(span.start, zone).date() - DAY, local(span.end, zone).date()
        reached = span.start
        while day <= last:
            end = at(day if self.end > self.start else day + DAY, self.end, zone)
            # A day that a zone leaves out falls onto the one after it, which must not count twice.
            part = Span(max(at(day, self.start, zone), reached), min(end, span.end))
            if part.start < part.end:
                yield part
                reached = part.end
            day += DAY


class Timeline:
    """Spans, disjoint and oldest first, out of which stretches of time are cut in their order."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._place = 0

    def parts(self, stretch: Span) -> Iterator[tuple[int, Span]]:
        """What a stretch, which begins no earlier than the one before, has of each span, and the span's number."""
        spans = self._spans
        while self._place < len(spans) and spans[self._place].end <= stretch.start:
            self._place += 1
        for number in range(self._place, len(spans)):
            span = spans[number]
            if span.start >= stretch.end:
                return
            yield number, Span(max(span.start, stretch.start), min(span.end, stretch.end))


@lru_cache(maxsize=100)
def zone(name: str) -> ZoneInfo:
    """The time zone with this IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"there is no time zone {name[:60]!r}; expected a name such as Asia/Jakarta or UTC"
        ) from error


def shift(text: str) -> Shift:
    """Read hours of the day such as `22:00-06:00`; they may end at 24:00. Raises ValueError."""
    found = _SHIFT.fullmatch(text)
    if found is None or found[1] == found[2]:
        raise ValueError(
            f"not hours of the day: {text[:40]!r}; expected two different times such as 06:00-14:00"
        )
    start, end = (
        time.fromisoformat("00:00" if shown == "24:00" else shown) for shown in found.groups()
    )
    return Shift(start, end)


def local(timestamp: datetime, zone: ZoneInfo) -> datetime:
    """A naive UTC time as the clocks of a zone show it, with its offset."""
    return timestamp.replace(tzinfo=UTC).astimezone(zone)


def at(day: date, clock_time: time, zone: ZoneInfo) -> datetime:
    """When the clocks of a zone show this time of this day, as naive UTC.

    Of two such times the first; a time that the clocks leave out is as far from the hours before as on other days.
    """
    return naive_utc(datetime.combine(day, clock_time, zone))


def next_hour(timestamp: datetime, zone: ZoneInfo) -> datetime:
    """When the next hour of the zone's clocks begins after a naive UTC time."""
    shown = local(timestamp, zone)
    passed = timedelta(minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond)
    begun = timestamp - passed
    if local(begun + HOUR, zone).utcoffset() == shown.utcoffset():
        return begun + HOUR
    # The clocks are changed until then, in some zones in the middle of an hour.
    minutes = (begun + number * MINUTE for number in range(shown.minute + 1, 60))
    return next(
        (minute for minute in minutes if local(minute, zone).hour != shown.hour), begun + HOUR
    )


def hours(span: Span, zone: ZoneInfo) -> Iterator[Span]:
    """The hours of a zone's clocks that a span touches, oldest first, the first and the last clipped."""
    start = span.start
    while start < span.end:
        end = min(next_hour(start, zone), span.end)
        yield Span(start, end)
        start = end
