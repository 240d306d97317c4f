"""Time: everything inside the project is a naive `datetime` in UTC; this module is the border.

Outside, times are RFC 3339 with `Z`, or epoch numbers; a naive time from outside means UTC.
"""

import logging
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from utils.text import printable

logger = logging.getLogger(__name__)
MICROSECOND = timedelta(microseconds=1)
STEP = timedelta(seconds=2)
"""A clock that goes back by more than this was set; one that goes back by less is waited for."""
EPOCH = datetime(1970, 1, 1)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OFFSET_AFTER_SPACE = re.compile(r" (\d\d:?\d\d)$")
_EPOCH_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d*)?", re.ASCII)
_RELATIVE = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def now() -> datetime:
    """The present moment, naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def naive_utc(moment: datetime) -> datetime:
    """Convert an aware time to naive UTC; a naive one already is. Raises ValueError off the calendar."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def from_epoch(number: float) -> datetime:
    """Read an epoch number; its size tells seconds, ms, µs and ns apart. Raises ValueError off the calendar."""
    size = abs(number)
    scale = 1e6 if size < 1e11 else 1e3 if size < 1e14 else 1.0 if size < 1e17 else 1e-3
    try:
        return EPOCH + timedelta(microseconds=number * scale)
    except (OverflowError, ValueError) as error:
        raise ValueError("outside the years 1 to 9999") from error


def parse(text: str) -> datetime:
    """Read ISO 8601 or an epoch number in a string. Raises ValueError saying what is wrong."""
    if _EPOCH_NUMBER.fullmatch(text):
        return from_epoch(float(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f'not a time: "{printable(text[:40])}"') from error
    return naive_utc(moment)


def parse_query(text: str) -> datetime:
    """Read a time from a URL: as `parse`, or relative to now (`-24h`; units s m h d w), or `now`."""
    if text == "now":
        return now()
    if match := _RELATIVE.fullmatch(text):
        seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
        try:
            return now() - timedelta(seconds=seconds)
        except OverflowError as error:
            raise ValueError("outside the years 1 to 9999") from error
    # In a URL an unescaped "+" arrives as a space.
    return parse(_OFFSET_AFTER_SPACE.sub(r"+\1", text))


def rfc3339(moment: datetime) -> str:
    """Write a naive UTC time as RFC 3339 with `Z`, always with six digits after the second."""
    return moment.isoformat(timespec="microseconds") + "Z"


class Uptime(NamedTuple):
    """How long a machine runs, which no change of its clock touches."""

    boot: str | None
    """Which of its runs, the same for all its processes; None where the system does not tell."""
    seconds: float


def uptime() -> Uptime:
    """The present run of this machine, with the time that it slept."""
    try:
        return Uptime(_BOOT_ID.read_text().strip(), time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return Uptime(None, time.monotonic())


def server_time(last: datetime) -> datetime:
    """The server's time after `last`, naive UTC: later by a microsecond at least, unless the clock was set back.

    The only place that decides what server time is when the clock steps.
    """
    present = now()
    if present > last:
        return present
    if last - present > STEP:
        logger.warning("The clock was set back by %.1f s; readings get its new time", (last - present).total_seconds())
        return present
    return last + MICROSECOND


class StrictClock:
    """Server time for several threads: no two messages share one, unless the clock was set back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = EPOCH

    def now(self) -> datetime:
        """The present moment, naive UTC; see `server_time`."""
        with self._lock:
            self._last = server_time(self._last)
            return self._last
