"""Times in a query: also relative to now, and only in forms that mean one moment."""

import re
from datetime import datetime, timedelta

from utils import clock
from utils.text import printable

MIN_EPOCH_DIGITS = 9
"""So that a year or a date without hyphens is not read as seconds of 1970."""
_OFFSET_AFTER_SPACE = re.compile(r" (\d\d:?\d\d)$")
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?", re.ASCII)
_WEEK = re.compile(r"\d{4}-?W\d\d(?!-?\d(?!\d))", re.ASCII)
_RELATIVE = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse(text: str) -> datetime:
    """Parse a time: as `clock.parse`, relative to now (`-24h`; units s m h d w), or `now`.

    A week alone is none, as a month or a year is none. Raises ValueError.
    """
    if text == "now":
        return clock.now()
    if match := _RELATIVE.fullmatch(text):
        seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
        try:
            return clock.now() - timedelta(seconds=seconds)
        except OverflowError as error:
            raise ValueError(clock.OFF_THE_CALENDAR) from error
    number = clock.EPOCH_NUMBER.fullmatch(text)
    if (number and not _NUMBER.fullmatch(text)) or _WEEK.match(text):
        raise ValueError(f'not a time: "{printable(text[:40])}"')
    if number and len(number[1]) < MIN_EPOCH_DIGITS and not clock.is_date(text):
        allowed = f"at least {MIN_EPOCH_DIGITS} digits; write days as 2026-01-29 or 20260129"
        raise ValueError(f"{text} is too short for epoch seconds, which have {allowed}")
    # An unescaped "+" arrives as a space.
    return clock.parse(_OFFSET_AFTER_SPACE.sub(r"+\1", text))
