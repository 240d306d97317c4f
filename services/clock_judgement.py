"""Judge the clock of a device by the times that its newest readings state; pure.

The offset of a reading is the device's time minus the time when the reading was stored. A message
that comes late has a lower offset, and none has a higher one than the clock itself. Late messages
have scattered offsets, those that come at once have about the same one: the clock's. So a clock is
seen as a level, on which a good part of the readings are, and the highest level counts, until the
readings are steadily on a lower one. Two levels in turn are two clocks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import combinations, groupby, pairwise, takewhile
from operator import attrgetter
from typing import Literal, NamedTuple

from utils.clock import EPOCH

LooksLike = Literal["right", "zone", "not_set", "drifting", "jumping"]

AHEAD = 30.0
"""How far a right clock may be ahead, in seconds; nothing but the clock makes a reading early."""
BEHIND = 120.0
"""How far it may seem behind: a reading is measured, averaged and sent before it is stored."""
STEADY = 120.0
"""Offsets that differ by no more than this are equal, and one so near to a zone's is the zone's."""
SHARE = 8
"""One reading of so many is enough for a level: late ones are scattered over minutes or hours."""
PARTS = 5
"""A drift is looked for between the freshest readings of so many parts."""
FEW = 5
"""Of fewer readings, one alone may be ahead; of more, it is a single wrong time."""
CHANGES = 4
"""A restart and a single wrong time change the state of a clock two times at most."""
LASTING = 3
"""So many readings of one offset are no coincidence."""
FASTEST = 0.06
"""A clock gains or loses less than this; the offsets of late messages change faster."""
BURST = timedelta(seconds=1)
"""Readings that are stored within it arrived together."""
SAME = timedelta(seconds=10)
"""Of one clock the stated time goes on by more than this from one batch to the next."""
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

    @property
    def stated(self) -> datetime:
        return self.received + timedelta(seconds=self.offset)


_offset = attrgetter("offset")
_Level = list[_Point]
"""Readings of about one offset, by the time when they were stored."""


def judge(sightings: Sequence[Sighting], declared: float | None = None) -> Judgement | None:
    """Judge the clock of a device by readings in the order in which they were stored.

    `declared` is the present offset of the zone that the stream declares, in seconds. None means
    that the readings do not tell: there are none, or all came late.
    """
    is_set = [one.offset is not None for one in sightings]
    if sum(before != after for before, after in pairwise(is_set)) >= CHANGES:
        return Judgement("jumping", sightings[-1].offset)
    unset = next((count for count, one in enumerate(reversed(is_set)) if one), len(is_set))
    if unset > 1 or unset == len(is_set) > 0:
        return Judgement("not_set", None)
    readings = _since_set(sightings[: len(sightings) - unset])
    found = _of_points(_ends_of_bursts(readings), declared) if readings else None
    if found and found.looks_like != "jumping" and _states_beginnings(readings, found.offset or 0):
        return Judgement("right", found.offset)
    return found


def quarters(offset: float) -> int:
    """Return the nearest whole number of quarter hours, in seconds."""
    return round(offset / QUARTER) * QUARTER


def _since_set(sightings: Sequence[Sighting]) -> list[_Point]:
    """Return the readings at the end that state a credible time."""
    newest = takewhile(lambda one: one.offset is not None, reversed(sightings))
    return [_Point(one.received, one.offset or 0) for one in newest][::-1]


def _ends_of_bursts(points: Sequence[_Point]) -> list[_Point]:
    """Return the oldest and the newest of the readings that arrive together, such as a backlog."""
    ends: list[_Point] = []
    for _, burst in groupby(points, lambda one: (one.received - points[0].received) // BURST):
        inside = sorted(burst, key=lambda point: point.stated)
        ends += inside[:: len(inside) - 1 or 1]
    return ends


def _of_points(points: Sequence[_Point], declared: float | None) -> Judgement | None:
    """Judge a clock that is set."""
    enough = max(2, len(points) / SHARE)
    levels = _levels(points, enough)
    drifted = _drifted(points, enough + max(map(len, levels), default=0))
    if drifted is not None:
        return Judgement("right" if _is_right(drifted) else "drifting", drifted)
    lasting = max(LASTING, enough)
    highest = max([AHEAD, *(_top(level) + STEADY for level in levels)])
    pairs = combinations([level for level in levels if len(level) >= lasting], 2)
    is_of_two = any(_alternate(points, *pair, declared) for pair in pairs)
    if is_of_two or sum(point.offset > highest for point in points) >= lasting:
        return Judgement("jumping", points[-1].offset)
    if not levels:
        return None
    offset = _top(_newest(levels, lasting)[-PARTS:])
    is_zone = _is_zone(offset, declared)
    return Judgement("right" if _is_right(offset) else "zone" if is_zone else "drifting", offset)


def _levels(points: Sequence[_Point], enough: float) -> list[_Level]:
    """Return the levels, the highest first; late messages are on none, and a single wrong time."""
    levels: list[_Level] = []
    rest = sorted(points, key=_offset, reverse=True)
    while rest:
        near = sorted(point for point in rest if point.offset >= rest[0].offset - STEADY)
        is_level = _is_level(near, enough)
        levels += [near] if is_level else []
        rest = rest[len(near) if is_level else 1 :]
    is_one_enough = not levels and len(points) < FEW and _top(points) > AHEAD
    return [[max(points, key=_offset)]] if is_one_enough else levels


def _is_level(near: _Level, enough: float) -> bool:
    """Return whether offsets are a clock's; nothing else makes a reading early, or right."""
    if _top(near) > AHEAD:
        return len(near) > 1
    return _is_right(_top(near)) or (len(near) >= enough and _is_live(near))


def _is_live(level: _Level) -> bool:
    """Return whether the device's time went on as the server's did, not faster as of a backlog."""
    half = (len(level) + 1) // 2
    passed = _seconds(level[0], level[-1])
    return passed > 0 and abs(_top(level[half:]) - _top(level[:half])) <= passed / 4


def _alternate(
    points: Sequence[_Point], upper: _Level, lower: _Level, declared: float | None
) -> bool:
    """Return whether the stated time goes back and forth, as it does by two clocks in turn."""
    is_right = _is_right(_top(lower)) and not _is_right(_top(upper))
    if not is_right and not _is_zone(_top(lower), declared):
        return False
    both = [point for point in points if point in upper or point in lower]
    turns = [(one, two) for one, two in pairwise(both) if (one in upper) != (two in upper)]
    back = [two for one, two in turns if two.stated <= one.stated + SAME]
    return len(turns) >= CHANGES and len(back) >= CHANGES / 2


def _newest(levels: Sequence[_Level], lasting: float) -> _Level:
    """Return the highest level, or a lower one on which the readings are since."""
    newest = levels[0]
    for lower in levels[1:]:
        since = [point for point in lower if point.received > newest[-1].received]
        if len(since) >= lasting and _is_live(since):
            newest = since
    return newest


def _states_beginnings(points: Sequence[_Point], offset: float) -> bool:
    """Return whether times are those when intervals began: at eleven, a meter states ten."""
    stated = sorted({point.stated for point in points})
    interval = min((after - before for before, after in pairwise(stated)), default=timedelta())
    step = min(interval, timedelta(seconds=QUARTER))
    is_whole = step > timedelta() and not any((at - EPOCH) % step for at in stated)
    return is_whole and _is_right(offset + interval.total_seconds())


def _drifted(points: Sequence[_Point], enough: float) -> float | None:
    """Return the newest offset of a clock that drifts: `enough` readings are on a line."""
    size = -(-len(points) // PARTS)
    peaks = [max(points[at : at + size], key=_offset) for at in range(0, len(points), size)]
    most: list[_Point] = []
    for first, last in combinations(peaks, 2):
        speed = (last.offset - first.offset) / max(_seconds(first, last), 1)
        if STEADY / max(_seconds(points[0], points[-1]), 1) < abs(speed) <= FASTEST:
            leaning = [(point, first.offset + speed * _seconds(first, point)) for point in points]
            near = [point for point, line in leaning if abs(point.offset - line) <= STEADY / 2]
            most = max(most, near, key=len)
    return most[-1].offset if len(most) >= enough else None


def _is_right(offset: float) -> bool:
    return -BEHIND <= offset <= AHEAD


def _is_zone(offset: float, declared: float | None) -> bool:
    """Return whether an offset is one that a wrong zone makes."""
    zone = quarters(offset)
    least = NEAREST_ZONE if declared is None else QUARTER
    is_near = abs(offset - zone) <= STEADY and abs(zone) >= least
    return is_near and FIRST_ZONE <= zone + (declared or 0) <= LAST_ZONE


def _top(points: Sequence[_Point]) -> float:
    return max(point.offset for point in points)


def _seconds(first: _Point, last: _Point) -> float:
    """Return how long after one reading another one was stored."""
    return (last.received - first.received).total_seconds()
