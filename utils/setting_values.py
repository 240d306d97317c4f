"""Checks of values in settings; each returns the value, or raises ValueError."""

import re
from datetime import datetime

from utils import clock
from utils.mqtt_text import topic_error

_WHOLE_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)


def check_utf8(name: str, value: object) -> None:
    """Raise ValueError for the value of a variable that is not UTF-8."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name.upper()}: must be UTF-8") from None


def topic_filter(text: str) -> str:
    """Return a topic filter, with `#` for all. Raises ValueError."""
    levels = text.split("/")
    whole = all(level in ("+", "#") or not set(level) & set("+#") for level in levels)
    has_first_level = levels[0] and not levels[0].startswith("$")
    wanted = 'must be one topic filter such as "#" or "site/#" that does not begin with / or $'
    if error := topic_error(text):
        raise ValueError(f"{wanted}: {error}")
    if not whole or not has_first_level or "#" in levels[:-1]:
        raise ValueError(wanted)
    return "#" if text == "+/#" else text


def names(text: str) -> str:
    """Return names with commas between, without blanks. Raises ValueError."""
    found = [name.strip() for name in text.split(",")]
    if text.strip() and not all(found):
        raise ValueError("must be names with commas between, such as sensors,tasmota")
    return ",".join(found)


def upper(value: object) -> object:
    """Return a text in capitals."""
    return value.upper() if isinstance(value, str) else value


def whole(value: object) -> object:
    """Return a text that is a whole number. Raises ValueError."""
    if isinstance(value, str) and not _WHOLE_NUMBER.fullmatch(value):
        raise ValueError("must be a whole number")
    return value


def past(value: object) -> object:
    """Return the naive UTC of a text with a time in the past. Raises ValueError."""
    allowed = "must be a date or a time in the past, such as 2020-01-01 or 2020-01-01T06:00:00Z"
    if not isinstance(value, str):
        return value
    try:
        timestamp = clock.naive_utc(datetime.fromisoformat(value))
    except ValueError as error:
        raise ValueError(allowed) from error
    if timestamp > clock.now():
        raise ValueError(allowed)
    return timestamp
