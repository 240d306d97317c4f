"""Judge the clock of a device by the times that its newest readings state; pure.

The offset of a reading is the device's time minus the time when the reading was stored. A message
that comes late has a lower offset, and none has a higher one than the clock itself. So the offset
of the clock is that of the freshest messages: the highest among a few successive readings.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

LooksLike = Literal["right", "zone", "not_set", "drifting", "jumping"]

AHEAD = 30.0
"""How far a right clock may be ahead, in seconds; nothing but the clock makes a reading early."""
BEHIND = 120.0
"""How far it may seem behind: a reading is measured, averaged and sent before it is stored."""
STEADY = 120.0
"""Offsets that differ by no more than this are equal, and one so near to a zone's is the zone's."""
PARTS = 5
"""The newest readings are judged in so many parts, each by its freshest reading."""
FEW = 5
"""Among fewer readings, one that is far ahead of the others is not taken for an outlier."""
CHANGES = 4
"""A restart and a single wrong time change the state of a clock two times at most."""
FASTEST = 0.05
"""A clock gains or loses less than this; the offsets of late messages change faster."""
LARGEST_SHARE = 0.6
"""The share of one step in the change of the offset, above which it is a step and no drift."""
QUARTER = 900
NEAREST_ZONE = 3600
"""No zone is nearer to UTC; the beginning of an interval, such as a quarter hour, often is."""
FIRST_ZONE, LAST_ZONE = -12 * 3600, 14 * 3600


class Sighting(NamedTuple):
    """A reading of which the device stated the time."""

    received: datetime
    """When it was stored."""
    offset: float | None
    """Device time minus `received` in seconds; None if the device stated no credible time."""
    claimed: str | None = None
    """What the device stated, where it was not believed."""


class Judgement(NamedTuple):
    """What a clock looks like, and its offset in seconds if it has one."""

    looks_like: LooksLike
    offset: float | None


class _Point(NamedTuple):
    received: datetime
    offset: float


def judge(sightings: Sequence[Sighting], declared: float | None = None) -> Judgement | None:
    """Judge the clock of a device by readings in the order in which they were stored.

    `declared` is the present offset of the zone that the stream declares, in seconds. None means
    that the readings do not tell: there are none, or all came late.
    """
    offsets = [one.offset for one in sightings]
    if _jumps(offsets):
        return Judgement("jumping", offsets[-1])
    unset = _unset_at_the_end(offsets)
    if unset > 1 or unset == len(offsets) > 0:
        return Judgement("not_set", None)
    points = _without_outlier(_since_set(sightings[: len(sightings) - unset]))
    return _of_points(points, declared) if points else None


def quarters(offset: float) -> int:
    """Return the nearest whole number of quarter hours, in seconds."""
    return round(offset / QUARTER) * QUARTER


def _jumps(offsets: Sequence[float | None]) -> bool:
    """Return whether a clock is set and not set, or ahead and behind, in turn."""
    is_set = [offset is not None for offset in offsets]
    is_ahead = [
        offset > 0 for offset in offsets if offset is not None and not -BEHIND <= offset <= AHEAD
    ]
    return any(_changes(states) >= CHANGES for states in (is_set, is_ahead))


def _changes(states: Sequence[bool]) -> int:
    return sum(before != after for before, after in pairwise(states))


def _unset_at_the_end(offsets: Sequence[float | None]) -> int:
    """Return how many of the last readings state no credible time."""
    backwards = enumerate(reversed(offsets))
    return next((count for count, one in backwards if one is not None), len(offsets))


def _since_set(sightings: Sequence[Sighting]) -> list[_Point]:
    """Return the readings at the end that state a credible time."""
    points: list[_Point] = []
    for one in reversed(sightings):
        if one.offset is None:
            break
        points.append(_Point(one.received, one.offset))
    return points[::-1]


def _without_outlier(points: list[_Point]) -> list[_Point]:
    """Leave out a single reading that is ahead of all others."""
    if len(points) < FEW:
        return points
    second, first = sorted(points, key=lambda point: point.offset)[-2:]
    if first.offset <= max(AHEAD, second.offset + STEADY):
        return points
    return [point for point in points if point is not first]


def _of_points(points: Sequence[_Point], declared: float | None) -> Judgement | None:
    """Judge a clock that is set."""
    peaks = _peaks(points)
    newest, highest = peaks[-1].offset, max(peak.offset for peak in peaks)
    if _is_right(newest):
        return Judgement("right", newest)
    if _drifts(peaks):
        return Judgement("drifting", newest)
    level = _newest_level(peaks)
    if _is_settled(peaks, level) and (newest > 0 or _is_live(level)):
        return Judgement("zone" if _is_zone(newest, declared) else "drifting", newest)
    if highest > AHEAD:
        return Judgement("jumping", newest)
    # The newest messages came late, as after an outage; those before them may tell.
    return Judgement("right", highest) if _is_right(highest) else None


def _peaks(points: Sequence[_Point]) -> list[_Point]:
    """Return the freshest reading of each part."""
    count = min(PARTS, len(points))
    ends = [len(points) * number // count for number in range(count + 1)]
    return [max(points[start:end], key=lambda point: point.offset) for start, end in pairwise(ends)]


def _is_right(offset: float) -> bool:
    return -BEHIND <= offset <= AHEAD


def _drifts(peaks: Sequence[_Point]) -> bool:
    """Return whether the offset grows, or falls, about evenly, and as slowly as clocks do."""
    steps = [after.offset - before.offset for before, after in pairwise(peaks)]
    total = sum(steps)
    if len(steps) < 2 or abs(total) <= STEADY:
        return False
    is_even = max(map(abs, steps)) <= abs(total) * LARGEST_SHARE
    goes_one_way = all(step * total > 0 for step in steps)
    return is_even and goes_one_way and abs(total) <= _seconds(peaks) * FASTEST


def _newest_level(peaks: Sequence[_Point]) -> list[_Point]:
    """Return the peaks at the end that are about equal to the newest one."""
    level: list[_Point] = []
    for peak in reversed(peaks):
        if abs(peak.offset - peaks[-1].offset) > STEADY:
            break
        level.append(peak)
    return level[::-1]


def _is_settled(peaks: Sequence[_Point], level: Sequence[_Point]) -> bool:
    """Return whether the newest offset is the clock's, and not one of several.

    It may have been another one before, as when summer time begins. Lower ones may be late.
    """
    before = peaks[: len(peaks) - len(level)]
    if not before:
        return True
    is_one_step = _spread(before) <= STEADY
    is_highest = max(peak.offset for peak in before) <= level[-1].offset + STEADY
    return is_one_step or (len(level) > 1 and is_highest)


def _is_live(level: Sequence[_Point]) -> bool:
    """Return whether the device's time went on as the server's did.

    Of a backlog it goes on faster, because messages of hours arrive within seconds.
    """
    passed = _seconds(level)
    return passed > 0 and _spread(level) <= passed / 2


def _is_zone(offset: float, declared: float | None) -> bool:
    """Return whether an offset is one that a wrong zone makes."""
    zone = quarters(offset)
    least = NEAREST_ZONE if declared is None else QUARTER
    is_near = abs(offset - zone) <= STEADY and abs(zone) >= least
    return is_near and FIRST_ZONE <= zone + (declared or 0) <= LAST_ZONE


def _spread(points: Sequence[_Point]) -> float:
    offsets = [point.offset for point in points]
    return max(offsets) - min(offsets)


def _seconds(points: Sequence[_Point]) -> float:
    """Return how long after the first reading the last one was stored."""
    return (points[-1].received - points[0].received).total_seconds()
