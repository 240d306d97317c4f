"""Hours and shifts in local time as naive UTC, including daylight saving."""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from utils.clock import naive_utc

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LOCAL_TIME = "/etc/localtime"
"""A link to the file of the machine's time zone."""
_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<minutes>[0-5]\d)", re.ASCII)
_SHIFT = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)


class Span(NamedTuple):
    """A time range from `start` (inclusive) to `end` (exclusive), both naive UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """The length."""
        return (self.end - self.start).total_seconds()

    def widened(self, seconds: float) -> "Span":
        """Return the span extended by this many seconds on either side."""
        more = timedelta(seconds=seconds)
        return Span(self.start - more, self.end + more)


class Shift(NamedTuple):
    """Hours of the day, from `start` to before `end`; an `end` not later is on the next day."""

    start: time
    end: time

    def within(self, span: Span, zone: ZoneInfo) -> Iterator[Span]:
        """Yield these hours of each local day, oldest first, clipped to a span."""
        day, last = local(span.start, zone).date() - DAY, local(span.end, zone).date()
        reached = span.start
        while day <= last:
            end = at(day if self.end > self.start else day + DAY, self.end, zone)
            # A day that a zone skips coincides with the next one, and must not count twice.
            part = Span(max(at(day, self.start, zone), reached), min(end, span.end))
            if part.start < part.end:
                yield part
                reached = part.end
            day += DAY


class Timeline:
    """Disjoint spans, oldest first, that cut later spans into parts."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._position = 0

    def parts(self, piece: Span) -> Iterator[tuple[int, Span]]:
        """Yield the parts of a span with the index of the timeline's span they are in.

        Each call must start no earlier than the one before.
        """
        spans = self._spans
        while self._position < len(spans) and spans[self._position].end <= piece.start:
            self._position += 1
        for number in range(self._position, len(spans)):
            span = spans[number]
            if span.start >= piece.end:
                return
            yield number, Span(max(span.start, piece.start), min(span.end, piece.end))


@lru_cache(maxsize=1_000)  # more than there are, because devices may name any of them
def zone(name: str) -> ZoneInfo:
    """Return the time zone with an IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        expected = "a name such as Asia/Jakarta or UTC"
        raise ValueError(f"there is no time zone {name[:60]!r}; expected {expected}") from error


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return the names of all time zones; looking for one that is not there reads folders."""
    return frozenset(available_timezones())


def of_server() -> ZoneInfo | None:
    """Return the time zone of this machine; None if it has no name."""
    shown = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath(LOCAL_TIME)
    try:
        return zone(shown.rpartition("zoneinfo/")[2])
    except ValueError:
        return None


def shift(text: str) -> Shift:
    """Parse hours of the day such as `22:00-06:00`; they may end at 24:00. Raises ValueError."""
    found = _SHIFT.fullmatch(text)
    if found is None or found[1] == found[2]:
        expected = "two different times such as 06:00-14:00"
        raise ValueError(f"not hours of the day: {text[:40]!r}; expected {expected}")
    start, end = (
        time.fromisoformat("00:00" if shown == "24:00" else shown) for shown in found.groups()
    )
    return Shift(start, end)


def zone_or_offset(text: str) -> tzinfo:
    """Return the zone of a name such as Europe/Berlin, or of an offset such as +07:00.

    Raises ValueError.
    """
    found = _OFFSET.fullmatch(text)
    if found is None:
        return zone(text)
    offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
    return timezone(-offset if found["sign"] == "-" else offset)


def local(timestamp: datetime, zone: tzinfo) -> datetime:
    """Convert a naive UTC time to an aware time in a zone."""
    return timestamp.replace(tzinfo=UTC).astimezone(zone)


def at(day: date, clock_time: time, zone: ZoneInfo) -> datetime:
    """Convert a local time of a day to naive UTC.

    The first of two equal local times counts. A time skipped by the clocks keeps its distance from
    the hours before.
    """
    return naive_utc(datetime.combine(day, clock_time, zone))


def next_hour(timestamp: datetime, zone: ZoneInfo) -> datetime:
    """Return the start of the next local hour after a naive UTC time, in naive UTC."""
    shown = local(timestamp, zone)
    passed = timedelta(minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond)
    begun = timestamp - passed
    if local(begun + HOUR, zone).utcoffset() == shown.utcoffset():
        return begun + HOUR
    # The clocks change within this hour, in some zones in the middle of one.
    minutes = (begun + number * MINUTE for number in range(shown.minute + 1, 60))
    return next(
        (minute for minute in minutes if local(minute, zone).hour != shown.hour), begun + HOUR
    )


def hours(span: Span, zone: ZoneInfo) -> Iterator[Span]:
    """Yield the local hours that a span touches, oldest first, the first and last clipped."""
    start = span.start
    while start < span.end:
        end = min(next_hour(start, zone), span.end)
        yield Span(start, end)
        start = end
