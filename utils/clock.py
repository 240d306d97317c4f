"""Time: inside the project every time is a naive `datetime` in UTC; this module converts.

Outside, times are RFC 3339 with `Z`, or epoch numbers; a naive time from outside means UTC.
"""

import logging
import re
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from utils.text import printable

logger = logging.getLogger(__name__)
MICROSECOND = timedelta(microseconds=1)
STEP = timedelta(seconds=2)
"""A clock set back by more than this was changed on purpose; a smaller step is waited out."""
MAX_AHEAD = timedelta(minutes=5)
"""How far a device's clock may be ahead of the server's; a later time is not accepted."""
EPOCH = datetime(1970, 1, 1)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""The units of epoch numbers."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
OFF_THE_CALENDAR = "outside the years 1 to 9999"
EPOCH_NUMBER = re.compile(r"[+-]?(\d{1,20})(\.\d{0,20})?", re.ASCII)
_SECONDS_DIGITS = 14
_COMPACT_DIGITS = (8, 12, _SECONDS_DIGITS, 17)
_ZONE = re.compile(r"(?<=\d)(?:Z|[+-]\d\d:\d\d)$", re.ASCII)
_DAY = re.compile(r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d(?:-?\d)?", re.ASCII)
_HOUR = re.compile(r"(.{7,10})\D\d\d(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_DAY_OF_YEAR_OR_MONTH = re.compile(r"\d{4}-(?:[0-2]\d\d|3[0-6]\d|0[1-9]|1[0-2])", re.ASCII)
# As numbers they would be epoch times of the years 1976 and 2572 to 2665.
_COMPACT = re.compile(
    r"((?:19|20|21)\d{6})(\d{4}|\d{6})"
    r"(?:(?<=\d{14})(?:[.,](\d{1,20})|(\d{3})))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_LONG_FRACTION = re.compile(r"([.,]\d{6})(\d)\d*", re.ASCII)
_LEAP_SECOND = re.compile(r"(.*\d\d:?\d\d:?)60([.,]\d+)?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_END_OF_DAY = re.compile(r"(.*\d\D)24(:?00(?::?00(?:[.,]0+)?)?)(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


class NoTimeOfDay(ValueError):
    """A date or an hour, which cannot be the time of a measurement."""


class OffTheCalendar(ValueError):
    """A time before the year 1 or after 9999 in UTC; programs use such for a missing time."""

    def __init__(self) -> None:
        super().__init__(OFF_THE_CALENDAR)


def now() -> datetime:
    """Return the current time, naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def future() -> datetime:
    """Return the earliest time that is not accepted now, naive UTC."""
    return now() + MAX_AHEAD + MICROSECOND


def naive_utc(timestamp: datetime) -> datetime:
    """Convert an aware time to naive UTC; return a naive one unchanged. Raises OffTheCalendar."""
    if timestamp.tzinfo is None:
        return timestamp
    if timestamp.tzinfo is UTC:  # the usual case; `replace` takes six times as long
        return datetime.combine(timestamp.date(), timestamp.time())
    try:
        return timestamp.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise OffTheCalendar from error


def from_epoch(number: float, per_second: int = 0) -> datetime:
    """Parse an epoch number; by default its size decides between s, ms, µs and ns.

    Raises ValueError.
    """
    size = abs(number)
    if not per_second:
        per_second = 1 if size < 1e11 else 10**3 if size < 1e14 else 10**6 if size < 1e17 else 10**9
    try:
        if isinstance(number, float):
            return EPOCH + timedelta(microseconds=number * (1e6 / per_second))
        # A float cannot hold today's time in nanoseconds.
        seconds, rest = divmod(number, per_second)
        return EPOCH + timedelta(seconds=seconds, microseconds=rest * 1_000_000 / per_second)
    except (OverflowError, ValueError) as error:
        raise ValueError(OFF_THE_CALENDAR) from error


def is_compact(number: float) -> bool:
    """Return whether a number looks like a date or a compact time such as 20250929162750.5."""
    if not 0 < number < 1e17:
        return False
    digits = str(int(number))
    if number != int(number) and len(digits) != _SECONDS_DIGITS:
        return False
    return len(digits) in _COMPACT_DIGITS and digits[:2] in ("19", "20", "21")


def is_date(text: str) -> bool:
    """Return whether a text is a day, week or month in ISO 8601, without a time of day."""
    day = _ZONE.sub("", text)
    if not _DAY.fullmatch(day):
        return _DAY_OF_YEAR_OR_MONTH.fullmatch(day) is not None
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def is_hour(text: str) -> bool:
    """Return whether a text is a day in ISO 8601 with only an hour."""
    found = _HOUR.fullmatch(text)
    return found is not None and is_date(found[1])


def parse(text: str) -> datetime:
    """Parse ISO 8601, also `20250929162750`, or an epoch number; a date is its midnight.

    Raises ValueError saying what is wrong.
    """
    if timestamp := _compact(text):
        return timestamp
    if EPOCH_NUMBER.fullmatch(text) and not is_date(text):
        return from_epoch(float(text) if "." in text else int(text))
    return _iso(text, text)


def _compact(text: str) -> datetime | None:
    """Parse a date and time without separators; None for other texts."""
    found = _COMPACT.fullmatch(text)
    if found is None:
        return None
    day, shown, fraction, thousandths, zone = found.groups()
    after = f".{fraction or thousandths}" if fraction or thousandths else ""
    try:
        return _iso(f"{day}T{shown}{after}{zone or ''}", text)
    except ValueError:
        # Four digits after the date may be part of epoch milliseconds.
        if text.isdecimal() and len(shown) == 4:
            return None
        raise


def _iso(text: str, whole: str) -> datetime:
    """Parse ISO 8601. Raises ValueError showing the `whole` text."""
    if fraction := _LONG_FRACTION.search(text):
        return _rounded(_iso(text[: fraction.end(1)] + text[fraction.end() :], whole), fraction[2])
    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError as error:
        if unusual := _after_leap_second(text) or _after_end_of_day(text):
            return unusual
        raise ValueError(f'not a time: "{printable(whole[:40])}"') from error
    return naive_utc(timestamp)


def _rounded(timestamp: datetime, next_digit: str) -> datetime:
    """Round to the nearest microsecond as the payload decoder does; `fromisoformat` truncates."""
    try:
        return timestamp + MICROSECOND if next_digit >= "5" else timestamp
    except OverflowError as error:
        raise OffTheCalendar from error


def _after_leap_second(text: str) -> datetime | None:
    """Return the second after a leap second; None unless it ends a day in UTC or its own zone."""
    leap = _LEAP_SECOND.fullmatch(text)
    if leap is None:
        return None
    try:
        local = datetime.fromisoformat(f"{leap[1]}59{leap[2] or ''}{leap[3] or ''}")
        timestamp = naive_utc(local)
        minutes = {(each.hour, each.minute) for each in (local, timestamp)}
        return timestamp + SECOND if (23, 59) in minutes else None
    except (OverflowError, ValueError):
        return None


def _after_end_of_day(text: str) -> datetime | None:
    """Return the midnight written as 24:00; None for other texts."""
    end = _END_OF_DAY.fullmatch(text)
    if end is None:
        return None
    try:
        return naive_utc(datetime.fromisoformat(f"{end[1]}00{end[2]}{end[3] or ''}")) + DAY
    except (OverflowError, ValueError):
        return None


def rfc3339(timestamp: datetime) -> str:
    """Format a naive UTC time as RFC 3339 with `Z` and six digits after the second."""
    return timestamp.isoformat(timespec="microseconds") + "Z"


class Uptime(NamedTuple):
    """The time since this machine booted, which is independent of its clock."""

    boot: str | None
    """The boot id, the same for all processes; None if the system has none."""
    seconds: float


def uptime() -> Uptime:
    """Return the current uptime, including time asleep."""
    try:
        return Uptime(_BOOT_ID.read_text().strip(), _running())
    except OSError:
        return Uptime(None, _running())


def _running() -> float:
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return time.monotonic()


def server_time(last: datetime) -> datetime:
    """Return the server time, naive UTC, later than `last` unless the clock was set back.

    This is the only function that decides on server time when the clock steps.
    """
    present = now()
    if present > last:
        return present
    if last - present > STEP:
        logger.warning(
            "The clock was set back by %.1f s; readings get its new time",
            (last - present).total_seconds(),
        )
        return present
    return last + MICROSECOND


class Steps:
    """Detects a clock set ahead, which server time follows as if the time had passed."""

    def __init__(self) -> None:
        self._offset = _offset()

    def look(self) -> None:
        """Warn if the clock was set ahead since the last call."""
        before, self._offset = self._offset, _offset()
        if self._offset - before > STEP.total_seconds():
            logger.warning(
                "The clock was set ahead by %.1f s; readings get its new time",
                self._offset - before,
            )


def _offset() -> float:
    """Return the clock minus the uptime, which is constant until the clock is set."""
    return (now() - EPOCH).total_seconds() - _running()


class StrictClock:
    """Server time for several threads, unique unless the clock was set back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = EPOCH

    def now(self) -> datetime:
        """Return the current time, naive UTC; see `server_time`."""
        with self._lock:
            self._last = server_time(self._last)
            return self._last
