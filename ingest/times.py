"""Times: parse the time that a device states, and decide whether to believe it; pure."""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from ingest.fields import UNSET
from ingest.showing import shown
from ingest.values import NUMBER, PayloadError, spelled
from streams.stream import Stream
from utils import calendar, clock
from utils.text import printable

AHEAD = timedelta(days=400)
"""How far the server's clock may be behind; times further ahead, such as 2106, mean no time."""
# An exponent, or only zeros as decimals; numbers with other decimals are read digit by digit.
_FLOAT = re.compile(r"[+-]?\d{1,20}(\.\d{0,20}[eE][+-]?\d{1,3}|[eE][+-]?\d{1,3}|\.0*)", re.ASCII)
MAX_TIME = 100
"""Characters of a time; a message can have 10,000 readings of one."""
# Seconds of the years 2001 to 2030, which cannot be a date such as 20300101.
_FIRST_SECOND, _LAST_SECOND = 1_000_000_000, 1_900_000_000
_OFFSET = re.compile(r"(?:[zZ]|[+-]\d\d(?::?\d\d)?)$", re.ASCII)
_NAMED_ZONE = re.compile(r"(?P<time>.*\d) +(?P<zone>[A-Z][A-Za-z_]*(?:/[A-Za-z0-9_+-]+)*)")
# "Mon, 29 Sep 2025 18:27:50 +0200", RFC 2822, section 3.3.
# The names of zones are those that it has; others mean different zones in different places.
_RFC_2822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)?"
    r" (?:[+-]\d{4}|UTC?|GMT|Z|[ECMP][SD]T)"
)


class StatedTime(NamedTuple):
    """What is known of the time of a reading."""

    timestamp: datetime | None
    """The device's time, if it is believed."""
    claimed: str | None = None
    """What the device stated, if its time is not believed."""
    ahead: datetime | None = None
    """A time that is not believed because it is ahead of the server's clock."""


class TimeReader:
    """Reads the times of a stream; those before `earliest` are not believed."""

    def __init__(self, stream: Stream, earliest: datetime) -> None:
        self._field = stream.timestamp.name
        self._required = stream.timestamp.required
        self._format = stream.timestamp.format
        zone = stream.timestamp.zone
        self._zone = calendar.zone_or_offset(zone) if zone else None
        self._earliest = earliest

    def read(self, stated: Any, received_at: datetime) -> StatedTime:
        """Return the time if it is believed. Raises PayloadError where one is required."""
        if stated is UNSET:
            if self._required:
                raise PayloadError("missing_field", f"{self._field}: missing")
            return StatedTime(None)
        try:
            measured_at = self._parsed(stated)
        except (clock.NoTimeOfDay, clock.OffTheCalendar):
            return StatedTime(None, _unbelieved(stated))
        except ValueError as error:
            if self._required:
                raise PayloadError("invalid_timestamp", f"{self._field}: {error}") from error
            is_blank = isinstance(stated, str) and not stated.strip()
            return StatedTime(None, None if is_blank else _unbelieved(stated))
        if self._earliest <= measured_at <= received_at + clock.MAX_AHEAD:
            return StatedTime(measured_at)
        if received_at < measured_at <= received_at + AHEAD:
            # In this form it is found when the reading comes again.
            return StatedTime(None, clock.rfc3339(measured_at), measured_at)
        claimed = _unbelieved(stated) if _is_number(stated) else clock.rfc3339(measured_at)
        return StatedTime(None, claimed)

    def _parsed(self, stated: Any) -> datetime:
        """Parse a stated time. Raises NoTimeOfDay, OffTheCalendar or another ValueError."""
        if type(stated) is int and not self._format and _FIRST_SECOND <= stated < _LAST_SECOND:
            return clock.EPOCH + timedelta(seconds=stated)
        if isinstance(stated, datetime):
            return self._utc(stated)
        if isinstance(stated, bool) or not isinstance(stated, str | int | float):
            raise ValueError(f"not a time: {shown(stated)}")  # noqa: TRY004 - bad input
        if isinstance(stated, str) and len(stated) > MAX_TIME:
            raise ValueError(f"not a time: {shown(stated)}")
        if self._format:
            return self._formatted(stated)
        if isinstance(stated, str):
            return self._of_text(stated.strip())
        return self._of_number(stated)

    def _utc(self, timestamp: datetime) -> datetime:
        """Return naive UTC; a naive time is by the clocks of the declared zone."""
        if timestamp.tzinfo is None and self._zone is not None:
            # Of an hour that comes twice, always the earlier one, so that a redelivery is known.
            timestamp = timestamp.replace(tzinfo=self._zone, fold=0)
        return clock.naive_utc(timestamp)

    def _formatted(self, stated: str | float) -> datetime:
        text = spelled(stated) or str(stated).strip()
        if self._format not in clock.PER_SECOND:
            try:
                return self._utc(datetime.strptime(text, self._format))  # noqa: DTZ007 - see `_utc`
            except ValueError as error:
                expected = f"not a time such as {self._format}"
                raise ValueError(f"{expected}: {shown(stated)}") from error
        if not NUMBER.fullmatch(text):
            raise ValueError(f"not a number: {shown(stated)}")
        number = float(text) if set(text) & set(".eE") else int(text)
        return clock.from_epoch(number, clock.PER_SECOND[self._format])

    def _of_number(self, number: float) -> datetime:
        if not clock.is_compact(number):
            return clock.from_epoch(number)
        return self._of_text(str(int(number) if number == int(number) else float(number)))

    def _of_text(self, text: str) -> datetime:
        try:
            return self._utc(msgspec.convert(text, datetime))
        except msgspec.ValidationError:
            if clock.is_date(text):
                raise clock.NoTimeOfDay(text) from None
        if _FLOAT.fullmatch(text):
            return self._of_number(float(text))
        if _RFC_2822.fullmatch(text):
            measured_at = parsedate_to_datetime(text)
            # -0000 is UTC without a word on the zone, RFC 2822, section 3.3.
            return self._utc(measured_at.replace(tzinfo=measured_at.tzinfo or UTC))
        if (named := _NAMED_ZONE.fullmatch(text)) is not None:
            return self._in_zone(named["time"], named["zone"])
        measured_at = clock.parse(text)
        if clock.is_hour(text):
            raise clock.NoTimeOfDay(text) from None
        return measured_at if _has_zone(text) else self._utc(measured_at)

    def _in_zone(self, text: str, name: str) -> datetime:
        """Parse a time with the name of its zone behind it. Raises ValueError."""
        if name not in calendar.zone_names():
            raise ValueError(f"not a time zone: {name}")
        zone = calendar.zone(name)
        if _has_zone(text) or clock.is_date(text) or clock.is_hour(text):
            return self._of_text(text)
        return clock.naive_utc(clock.parse(text).replace(tzinfo=zone, fold=0))


def _has_zone(text: str) -> bool:
    """Return whether a time is a number of seconds, or has an offset."""
    is_number = clock.EPOCH_NUMBER.fullmatch(text) is not None and not _is_compact(text)
    return is_number or _OFFSET.search(text) is not None


def _is_compact(text: str) -> bool:
    return clock.is_compact(float(text))


def _is_number(stated: Any) -> bool:
    """Return whether a time was stated as a number, which may be seconds since the start."""
    if isinstance(stated, str):
        return NUMBER.fullmatch(stated.strip()) is not None
    return not isinstance(stated, datetime)


def _unbelieved(stated: Any) -> str:
    """Return a time that is not believed, as it was stated, in at most 64 characters."""
    if isinstance(stated, datetime):
        return stated.isoformat()
    if isinstance(stated, float) and math.isfinite(stated):
        return repr(float(stated))  # only one of the decoders knows its spelling
    return (printable(stated[:64]) if isinstance(stated, str) else shown(stated))[:64]
