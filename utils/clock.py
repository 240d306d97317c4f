"""Time: everything inside the project is a naive `datetime` in UTC; this module is the border.

Outside, times are RFC 3339 with `Z`, or epoch numbers; a naive time from outside means UTC.
"""

import re
import threading
from datetime import UTC, datetime, timedelta

from utils.text import printable

EPOCH = datetime(1970, 1, 1)
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
    """Write a naive UTC time as RFC 3339 with `Z`."""
    return moment.isoformat() + "Z"


class StrictClock:
    """Gives each caller a later time than the one before, so that no two messages share a server time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = EPOCH

    def now(self) -> datetime:
        """The present moment, naive UTC, at least one microsecond after the last answer."""
        with self._lock:
            self._last = max(now(), self._last + timedelta(microseconds=1))
            return self._last
