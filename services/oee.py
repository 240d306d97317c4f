"""Overall equipment effectiveness: availability, performance and quality of a machine over time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection, Table

import queries.readings
from ingest.showing import shown
from queries.readings import TimeFilter
from streams.stream import Oee
from utils.calendar import Span, Timeline

MAX_SHOWN = 5


class StateSample(NamedTuple):
    """A status reading of a machine."""

    timestamp: datetime
    """Naive UTC."""
    state: str
    performance: float | None
    """Percent."""
    quality: float | None
    """Percent."""


@dataclass
class Rate:
    """A mean weighted by how long each value held."""

    weighted: float = 0.0
    seconds: float = 0.0

    def add(self, value: float | None, seconds: float) -> None:
        """Add a value; None is ignored."""
        if value is not None:
            self.weighted += value * seconds
            self.seconds += seconds

    @property
    def mean(self) -> float | None:
        """The mean; None without values."""
        return self.weighted / self.seconds if self.seconds else None


@dataclass
class Effectiveness:
    """The effectiveness in the hours that count; figures are in percent, None if unknown."""

    window: float
    """The length of the hours that count, in seconds."""
    running: float = 0.0
    """Seconds in a producing state."""
    states: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds in each state."""
    performance_rate: Rate = field(default_factory=Rate)
    quality_rate: Rate = field(default_factory=Rate)
    odd_rates: set[str] = field(default_factory=set)
    """The metrics with a rate below 0 or above 100 while the machine produced."""

    @property
    def known(self) -> float:
        """Seconds with a known state."""
        return sum(self.states.values(), 0.0)

    @property
    def coverage(self) -> float:
        """The known share of the time."""
        return 100 * self.known / self.window if self.window else 0.0

    @property
    def availability(self) -> float | None:
        """The share of the known time in which the machine produced."""
        return 100 * self.running / self.known if self.known else None

    @property
    def performance(self) -> float | None:
        """The mean performance while it produced."""
        return self.performance_rate.mean

    @property
    def quality(self) -> float | None:
        """The mean quality while it produced."""
        return self.quality_rate.mean

    @property
    def oee(self) -> float | None:
        """Availability times performance times quality; 0 if the machine never produced."""
        if self.known and not self.running:
            return 0.0
        if self.availability is None or self.performance is None or self.quality is None:
            return None
        return self.availability * self.performance * self.quality / 10_000


def measured(
    reader: Connection, table: Table, oee: Oee, device_id: str, span: Span, *, spans: Sequence[Span]
) -> Effectiveness:
    """Return the effectiveness of a device in the parts of a span that count, oldest first."""
    chosen = TimeFilter(device_id, *span.widened(oee.gap))
    rows = queries.readings.samples(
        reader, table, [oee.status, oee.performance, oee.quality], chosen
    )
    return effectiveness(oee, (StateSample(*row) for row in rows), spans)


def effectiveness(oee: Oee, samples: Iterable[StateSample], spans: Sequence[Span]) -> Effectiveness:
    """Return the effectiveness from samples, oldest first.

    A sample holds until the next one, unless that comes later than the gap.
    """
    found = Effectiveness(sum((span.seconds for span in spans), 0.0))
    timeline = Timeline(spans)
    for sample, following in pairwise(samples):
        held = Span(sample.timestamp, following.timestamp)
        if not 0 < held.seconds <= oee.gap:
            continue
        for _, part in timeline.parts(held):
            found.states[sample.state] += part.seconds
            if sample.state in oee.running:
                found.running += part.seconds
                found.performance_rate.add(sample.performance, part.seconds)
                found.quality_rate.add(sample.quality, part.seconds)
                found.odd_rates |= _odd_rates(oee, sample)
    return found


def notes(oee: Oee, found: Effectiveness) -> list[str]:
    """Return warnings about the readings or the declaration."""
    running = ", ".join(map(shown, oee.running))
    folded = {state.casefold() for state in oee.running}
    alike = sorted(
        state for state in found.states if state not in oee.running and state.casefold() in folded
    )
    notes = [
        f"{shown(state)} is not counted as running, because oee.running has {running}"
        for state in alike
    ]
    if found.known and not found.running and not alike:
        states = ", ".join(map(shown, sorted(found.states)[:MAX_SHOWN]))
        notes.append(f"none of the states ({states}) is among those of oee.running: {running}")
    return notes + [
        f"{metric}: some values are below 0 or above 100 percent"
        for metric in sorted(found.odd_rates)
    ]


def _odd_rates(oee: Oee, sample: StateSample) -> set[str]:
    rates = ((oee.performance, sample.performance), (oee.quality, sample.quality))
    return {metric for metric, rate in rates if rate is not None and not 0 <= rate <= 100}
