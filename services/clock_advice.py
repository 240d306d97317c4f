"""Say what to do about the clock of a device, with the line for the stream's file; pure."""

import re
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ingest.values import NUMBER
from services.clock_judgement import Judgement, quarters
from streams.stream import Stream
from utils import calendar, clock

SYNCHRONISE = "have the device set its clock by SNTP before it states a time, or leave the time out"
EVERY_DEVICE = "The line is for all devices of the stream, and for times without an offset"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def is_time(claimed: str) -> bool:
    """Return whether a time that was not believed is written as by `rfc3339`."""
    return _RFC_3339.fullmatch(claimed) is not None


def declared_offset(stream: Stream, now: datetime) -> float | None:
    """Return the offset of the zone that a stream declares, in seconds at a naive UTC time."""
    zone = stream.timestamp.zone
    return _offset_in(calendar.zone_or_offset(zone), now) if zone else None


def advice(
    judgement: Judgement,
    stream: Stream,
    claimed: str | None,
    now: datetime,
    here: ZoneInfo | None = None,
) -> str | None:
    """Return what to do about a clock; None if it is right.

    `claimed` is what the newest reading states, if it is not believed; `here` the server's zone.
    """
    match judgement.looks_like:
        case "right":
            return None
        case "not_set":
            return _of_unset(stream, claimed or "no time")
        case "jumping":
            return (
                "The times jump: give every device an id of its own, and have it set its clock by "
                "SNTP before it states a time"
            )
        case "zone":
            return _of_zone(stream, judgement.offset or 0, now, here)
        case "drifting":
            return _of_drift(judgement.offset or 0)


def _of_unset(stream: Stream, claimed: str) -> str:
    mend = SYNCHRONISE
    if stream.timestamp.format:
        mend = f"correct {_line('format', stream.timestamp.format, stream)}, or {SYNCHRONISE}"
    if NUMBER.fullmatch(claimed):
        return f"The device states {claimed}, which may be seconds since its start: {mend}"
    if is_time(claimed):
        return f"The device states {claimed}, so its clock is not set: {mend}"
    if not stream.timestamp.format:
        mend = f"declare its format {_place(stream)}, or {SYNCHRONISE}"
    return f'The device states "{claimed}", which is not read as a time: {mend}'


def _of_zone(stream: Stream, offset: float, now: datetime, here: ZoneInfo | None) -> str:
    own = stream.timestamp
    if own.format in clock.PER_SECOND or "%z" in own.format:
        return (
            f"The device states times that are {_spelled(quarters(offset))} from UTC as if they "
            f"were UTC: have it state UTC, or correct {_line('format', own.format, stream)}"
        )
    zone = quarters(offset) + int(declared_offset(stream, now) or 0)
    if own.zone and not zone:
        return f"Remove {_line('zone', own.zone, stream)}. {EVERY_DEVICE}"
    name = "the name of the zone, such as Europe/Berlin"
    # Files may not have abbreviations, such as CET.
    if here is not None and "/" in here.key and _offset_in(here, now) == zone:
        name = f'zone = "{here.key}", where this server is'
    action = f"Write {_line('zone', _spelled(zone), stream)}"
    if own.zone:
        action = f'Correct {_line("zone", own.zone, stream)} to zone = "{_spelled(zone)}"'
    return f"{action}, or {name}, which follows summer time. {EVERY_DEVICE}"


def _of_drift(offset: float) -> str:
    side = "ahead" if offset > 0 else "behind"
    what = f"The clock is {abs(offset):.0f} s {side}, which no zone explains"
    mend = "have the device set its clock by SNTP at least daily"
    if offset > 0:
        return f"{what}: {mend}"
    return f"{what}: {mend}, unless it states when an interval began"


def _line(key: str, value: str, stream: Stream) -> str:
    return f'{key} = "{value}" {_place(stream)}'


def _place(stream: Stream) -> str:
    return f"under [timestamp] in {stream.name}.toml"


def _spelled(offset: int) -> str:
    """Return an offset as stream files have it, such as +05:45."""
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


def _offset_in(zone: tzinfo, now: datetime) -> float:
    return (calendar.local(now, zone).utcoffset() or timedelta(0)).total_seconds()
