"""Clean the samples of meter counters, so that a wrong reading does not change the energy.

A wrong reading is a spike, or a fall to 0 and back.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import NamedTuple

Sample = tuple[datetime, float]
"""A naive UTC time, and a value in W or, for a counter, in kWh."""
JITTER = 0.1
"""The share of its value by which a counter may fall without a restart."""
READINGS = 3
"""The number of consecutive wrong readings that are recognised, however far apart they are."""
MOST = 1_000
"""The most readings that are examined together, however close they are."""
PACED = 20
"""The number of readings on either side of a step that give the usual pace."""
TIMES = 10
"""The largest plausible multiple of the usual pace after a restart or a first reading."""
TIMES_GOING_ON = 10_000
"""The same for a counter that goes on, which may have been idle until now."""


def plausible(samples: Iterable[Sample], gap: float) -> Iterator[Sample]:
    """Yield the samples of a counter, oldest first, without implausible ones.

    A counter that falls and returns within `gap` seconds, or within a few readings, did not
    restart.
    A counter that jumps up and returns to about its old value has not counted the jump. Of samples
    with the same time the last one counts.
    """
    positive = (sample for sample in samples if sample[1] >= 0)  # no counter is below 0
    return _Counter(gap).plausible(_last_of_each_time(positive))


def steps(samples: Iterable[Sample]) -> Iterator[tuple[Sample, Sample, bool]]:
    """Yield pairs of successive samples, and whether the counter can have counted the difference.

    If it cannot, one of the two is wrong, or they come from two counters. The pace decides: a
    counter that restarted began at 0 and shows what it has counted since.
    """
    upcoming = _Lookahead(samples)
    before: deque[Sample] = deque(maxlen=PACED + 1)
    last: Sample | None = None
    for sample in upcoming:
        if last is not None:
            usual = last[1] <= sample[1] <= 2 * last[1]
            counted = usual or _can_have_counted(before, sample, upcoming)
            yield last, sample, counted
            if not counted:
                before.clear()
        before.append(sample)
        last = sample


class _Lookahead:
    """An iterator over samples that allows looking ahead."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._rest = iter(samples)
        self._seen: deque[Sample] = deque()

    def __iter__(self) -> Iterator[Sample]:
        while (
            sample := self._seen.popleft() if self._seen else next(self._rest, None)
        ) is not None:
            yield sample

    def ahead(self) -> Iterator[Sample]:
        """Yield the samples after the current one."""
        yield from self._seen
        for sample in self._rest:
            self._seen.append(sample)
            yield sample


def _can_have_counted(before: Sequence[Sample], sample: Sample, upcoming: _Lookahead) -> bool:
    """Return whether a counter that fell, or more than doubled, can have counted the step."""
    last = before[-1]
    fell = _is_below(sample, last)
    needed = (sample[1] if fell else sample[1] - last[1]) / _seconds(last, sample)
    # A first reading is confirmed only once the counter has counted or repeated its value.
    begins = fell or (len(before) <= READINGS and before[0][1] == last[1])
    times, fastest = TIMES if begins else TIMES_GOING_ON, None
    for pace in _paces(before, sample, upcoming):
        fastest = max(fastest or 0.0, pace)
        if needed <= times * fastest:
            return True
    # Without two other readings there is no pace, and a counter that goes on may have been idle.
    return not needed or fastest is None or (not begins and not fastest)


def _paces(before: Sequence[Sample], sample: Sample, upcoming: _Lookahead) -> Iterator[float]:
    """Yield the paces of the readings before a step and after it."""
    counts = False
    for pair in pairwise(before):
        pace = _pace(*pair)
        counts = counts or pace > 0
        yield pace
    for number, pair in enumerate(pairwise(chain([sample], upcoming.ahead())), 1):
        pace = _pace(*pair)
        counts = counts or pace > 0
        yield pace
        # An idle counter, or one with large units, needs more readings.
        if number >= MOST or (number >= PACED and counts):
            return


class _Counter:
    """Filters samples one by one.

    `_latest` holds samples that a spike may still have begun in, `_fallen` those after a fall.
    """

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._latest: deque[Sample] = deque()
        self._fallen: list[Sample] = []
        self._waiting: deque[Sample] = deque()

    def plausible(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield the plausible samples, oldest first."""
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
        """Hold a sample back after a fall until its cause is known."""
        self._fallen.append(sample)
        if not self._may_come_back() or self._is_spike_already():
            yield from self._decide()

    def _leave_out_small_spike(self, sample: Sample) -> None:
        """Drop the latest samples if they were a jump of less than a tenth that is over now."""
        latest, value, height = self._latest, sample[1], float("inf")
        if not latest or value >= latest[-1][1]:
            return
        # A counter that jitters gets here often, so the cheap test comes first.
        for wrong in range(1, min(READINGS, len(latest) - 1) + 1):
            height, before = min(height, latest[-wrong][1]), latest[-wrong - 1][1]
            if before <= value <= before + JITTER * (height - before):
                few = list(islice(reversed(latest), 2 * (READINGS + 1)))[::-1]
                if _is_jump(few, len(few) - wrong - 1, [sample]):
                    for _ in range(wrong):
                        latest.pop()
                    return

    def _settled(self) -> Iterator[Sample]:
        """Yield the samples that are too old to precede a spike."""
        latest = self._latest
        while len(latest) > READINGS + 1 and (
            len(latest) > MOST or _seconds(latest[0], latest[-1]) > self._gap
        ):
            yield latest.popleft()

    def _is_spike_already(self) -> bool:
        # A reading of 0 may be wrong itself, and proves nothing about its neighbours.
        spike = _spike(self._latest, self._fallen) if len(self._fallen) <= READINGS + 1 else None
        return spike is not None and self._latest[spike.before][1] > 0

    def _may_come_back(self) -> bool:
        fallen = self._fallen
        in_time = _seconds(fallen[0], fallen[-1]) <= self._gap and len(fallen) < MOST
        return in_time or len(fallen) <= READINGS

    def _is_back(self, sample: Sample) -> bool:
        """Return whether the counter is back at its old value without having counted up to it."""
        fallen = self._fallen
        in_time = len(fallen) <= READINGS or _seconds(fallen[0], sample) <= self._gap
        if not in_time or _is_below(sample, self._latest[-1]):
            return False
        return len(fallen) == 1 or not self._counts_on([*fallen, sample])

    def _counts_on(self, samples: Sequence[Sample]) -> bool:
        usual = _pace(self._latest[0], self._latest[-1]) if len(self._latest) > 1 else 0.0
        return all(_pace(first, last) <= 2 * usual for first, last in pairwise(samples))

    def _decide(self) -> Iterator[Sample]:
        """Decide that the counter does not come back: it had jumped up before, or it restarted."""
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
    """The last index before a jump up, and the first index after the fall."""

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
    """Return whether the counter rose much faster than before and after."""
    usual = (_pace(*pair) for pair in chain(pairwise(latest[: before + 1]), pairwise(fallen)))
    return _pace(latest[before], latest[before + 1]) > 2 * max(usual, default=0.0)


def _is_below(sample: Sample, other: Sample) -> bool:
    """Return whether a counter fell below another sample by more than jitter."""
    return other[1] - sample[1] > JITTER * other[1]


def _pace(first: Sample, last: Sample) -> float:
    """Return the pace in kWh per second; 0 for a single sample."""
    seconds = _seconds(first, last)
    return (last[1] - first[1]) / seconds if seconds else 0.0


def _seconds(first: Sample, last: Sample) -> float:
    return (last[0] - first[0]).total_seconds()


def _last_of_each_time(samples: Iterable[Sample]) -> Iterator[Sample]:
    for _, same in groupby(samples, key=itemgetter(0)):
        *_, last = same
        yield last
