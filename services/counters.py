"""Counters of meters: what one wrong reading, a spike or a fall to 0 and back, must not make of the energy."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import NamedTuple

Sample = tuple[datetime, float]
"""A naive UTC time, and watts or, of a counter, kilowatt-hours."""
JITTER = 0.1
"""By which part of its value a counter may fall without having begun again."""
READINGS = 3
"""So many wrong readings in a row are noticed, however far apart they are."""
MOST = 1_000
"""So many readings are looked at together, however close they are."""
PACED = 20
"""So many readings on either side of two tell how fast the counter counts."""
TIMES = 10
"""How many times as fast as that it can have counted since it began again, or since its first reading."""
TIMES_GOING_ON = 10_000
"""The same of a counter that goes on, which may have stood by until now."""


def plausible(samples: Iterable[Sample], gap: float) -> Iterator[Sample]:
    """The samples of a counter, oldest first, without those that it cannot have shown.

    A counter that falls and is back within `gap` seconds, or within a few readings, had not begun again; one that
    jumps up and is back about where it was did not count that. Of samples of one time the last one holds.
    """
    shown = (sample for sample in samples if sample[1] >= 0)  # no counter is below 0
    return _Counter(gap).plausible(_last_of_each_time(shown))


def steps(samples: Iterable[Sample]) -> Iterator[tuple[Sample, Sample, bool]]:
    """Each plausible sample of a counter with the one before it, and whether it can have counted from that to this.

    If not, one of the two is wrong, or they are of two counters. Its pace tells: a counter that began again began at 0,
    and shows what it has counted since.
    """
    coming = _Coming(samples)
    before: deque[Sample] = deque(maxlen=PACED + 1)
    last: Sample | None = None
    for sample in coming:
        if last is not None:
            usual = last[1] <= sample[1] <= 2 * last[1]
            counted = usual or _can_have_counted(before, sample, coming)
            yield last, sample, counted
            if not counted:
                before.clear()
        before.append(sample)
        last = sample


class _Coming:
    """Samples, of which those that come next may be looked at."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._rest = iter(samples)
        self._seen: deque[Sample] = deque()

    def __iter__(self) -> Iterator[Sample]:
        while (
            sample := self._seen.popleft() if self._seen else next(self._rest, None)
        ) is not None:
            yield sample

    def ahead(self) -> Iterator[Sample]:
        """Those after the present one."""
        yield from self._seen
        for sample in self._rest:
            self._seen.append(sample)
            yield sample


def _can_have_counted(before: Sequence[Sample], sample: Sample, coming: _Coming) -> bool:
    """Whether a counter that fell, or is at more than twice what it was, can have counted that since."""
    last = before[-1]
    fell = _is_below(sample, last)
    needed = (sample[1] if fell else sample[1] - last[1]) / _seconds(last, sample)
    # Nothing confirms the first reading of a counter, until it has counted or said the same again and again.
    begins = fell or (len(before) <= READINGS and before[0][1] == last[1])
    times, fastest = TIMES if begins else TIMES_GOING_ON, None
    for pace in _paces(before, sample, coming):
        fastest = max(fastest or 0.0, pace)
        if needed <= times * fastest:
            return True
    # Without two other readings there is no pace, and one that goes on may have stood still until now.
    return not needed or fastest is None or (not begins and not fastest)


def _paces(before: Sequence[Sample], sample: Sample, coming: _Coming) -> Iterator[float]:
    """The paces of the readings before a step and of those after it."""
    counts = False
    for pair in pairwise(before):
        pace = _pace(*pair)
        counts = counts or pace > 0
        yield pace
    for number, pair in enumerate(pairwise(chain([sample], coming.ahead())), 1):
        pace = _pace(*pair)
        counts = counts or pace > 0
        yield pace
        # Of a counter that stands still, or shows large units, more readings are needed.
        if number >= MOST or (number >= PACED and counts):
            return


class _Counter:
    """What is not decided yet: the latest samples, of which the last ones may be a spike, and those after a fall."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._latest: deque[Sample] = deque()
        self._fallen: list[Sample] = []
        self._waiting: deque[Sample] = deque()

    def plausible(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """See the function."""
        for sample in samples:
            self._waiting.append(sample)
            yield from self._take_waiting()
        while self._fallen:
            yield from self._decide()
            yield from self._take_waiting()
        yield from self._latest

    def _take_waiting(self) -> Iterator[Sample]:
        while self._waiting:
            yield from self._take(self._waiting.popleft())

    def _take(self, sample: Sample) -> Iterator[Sample]:
        if not self._fallen:
            if self._latest and _is_below(sample, self._latest[-1]):
                yield from self._wait_for(sample)
            else:
                self._leave_out_small_spike(sample)
                self._latest.append(sample)
                yield from self._settled()
        elif self._is_back(sample):
            self._fallen.clear()
            self._latest.append(sample)
        else:
            yield from self._wait_for(sample)

    def _wait_for(self, sample: Sample) -> Iterator[Sample]:
        """Keep a sample after a fall until it is known what the fall was."""
        self._fallen.append(sample)
        if not self._may_come_back() or self._is_spike_already():
            yield from self._decide()

    def _leave_out_small_spike(self, sample: Sample) -> None:
        """Drop the latest samples if the counter is back where it was before them: a jump of less than a tenth."""
        latest, value, height = self._latest, sample[1], float("inf")
        if not latest or value >= latest[-1][1]:
            return
        # Many readings come by here of a counter that jitters, so the cheap question comes first.
        for wrong in range(1, min(READINGS, len(latest) - 1) + 1):
            height, before = min(height, latest[-wrong][1]), latest[-wrong - 1][1]
            if before <= value <= before + JITTER * (height - before):
                few = list(islice(reversed(latest), 2 * (READINGS + 1)))[::-1]
                if _is_jump(few, len(few) - wrong - 1, [sample]):
                    for _ in range(wrong):
                        latest.pop()
                    return

    def _settled(self) -> Iterator[Sample]:
        """Those that are too old for a spike to have begun after them."""
        latest = self._latest
        while len(latest) > READINGS + 1 and (
            len(latest) > MOST or _seconds(latest[0], latest[-1]) > self._gap
        ):
            yield latest.popleft()

    def _is_spike_already(self) -> bool:
        # A reading of 0 may be wrong itself, and show nothing about the ones between it and the next.
        spike = _spike(self._latest, self._fallen) if len(self._fallen) <= READINGS + 1 else None
        return spike is not None and self._latest[spike.before][1] > 0

    def _may_come_back(self) -> bool:
        fallen = self._fallen
        in_time = _seconds(fallen[0], fallen[-1]) <= self._gap and len(fallen) < MOST
        return in_time or len(fallen) <= READINGS

    def _is_back(self, sample: Sample) -> bool:
        """Whether the counter is again where it fell from, and did not count from there to here."""
        fallen = self._fallen
        in_time = len(fallen) <= READINGS or _seconds(fallen[0], sample) <= self._gap
        if not in_time or _is_below(sample, self._latest[-1]):
            return False
        return len(fallen) == 1 or not self._counts_on([*fallen, sample])

    def _counts_on(self, samples: Sequence[Sample]) -> bool:
        usual = _pace(self._latest[0], self._latest[-1]) if len(self._latest) > 1 else 0.0
        return all(_pace(first, last) <= 2 * usual for first, last in pairwise(samples))

    def _decide(self) -> Iterator[Sample]:
        """The counter did not come back: either it had jumped up before it fell, or it began again at 0."""
        fallen, self._fallen = self._fallen, []
        spike = _spike(self._latest, fallen)
        if spike is None:
            yield from self._latest
            self._latest = deque(fallen[:1])
            self._waiting.extendleft(reversed(fallen[1:]))
        else:
            while len(self._latest) > spike.before + 1:
                self._latest.pop()
            self._waiting.extendleft(reversed(fallen[spike.after :]))


class _Spike(NamedTuple):
    """A jump up and back: the places of the last sample before it, and of the first one of those after the fall."""

    before: int
    after: int


def _spike(samples: Iterable[Sample], fallen: Sequence[Sample]) -> _Spike | None:
    latest, lowest = list(samples), float("inf")
    for before in reversed(range(len(latest) - 1)):
        lowest = min(lowest, latest[before + 1][1])
        for after in range(min(len(fallen), READINGS + 1)):
            if _is_back_from(lowest, latest[before], fallen[after]) and _is_jump(
                latest, before, fallen
            ):
                return _Spike(before, after)
    return None


def _is_back_from(height: float, before: Sample, after: Sample) -> bool:
    rise, left = height - before[1], after[1] - before[1]
    return after[1] < height and not _is_below(after, before) and left <= JITTER * rise


def _is_jump(latest: Sequence[Sample], before: int, fallen: Sequence[Sample]) -> bool:
    """Whether the counter rose much faster than before and after it."""
    usual = (_pace(*pair) for pair in chain(pairwise(latest[: before + 1]), pairwise(fallen)))
    return _pace(latest[before], latest[before + 1]) > 2 * max(usual, default=0.0)


def _is_below(sample: Sample, other: Sample) -> bool:
    """Whether a counter that showed the other before has fallen by more than jitter."""
    return other[1] - sample[1] > JITTER * other[1]


def _pace(first: Sample, last: Sample) -> float:
    """Kilowatt-hours a second; 0 of a single sample."""
    seconds = _seconds(first, last)
    return (last[1] - first[1]) / seconds if seconds else 0.0


def _seconds(first: Sample, last: Sample) -> float:
    return (last[0] - first[0]).total_seconds()


def _last_of_each_time(samples: Iterable[Sample]) -> Iterator[Sample]:
    for _, same in groupby(samples, key=itemgetter(0)):
        *_, last = same
        yield last
