"""Overall equipment effectiveness: availability, performance and quality of a machine over time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Table

import queries.readings
from ingest.values import shown
from queries.reader import Reader
from queries.readings import TimeFilter
from streams.stream import Oee
from utils.calendar import Span, Timeline

MAX_SHOWN = 5


class StateSample(NamedTuple):
    """What a machine said of itself."""

    timestamp: datetime
    """Naive UTC."""
    state: str
    performance: float | None
    """Percent."""
    quality: float | None
    """Percent."""


@dataclass
class Rate:
    """A mean in which each value counts for as long as it held."""

    weighted: float = 0.0
    seconds: float = 0.0

    def add(self, value: float | None, seconds: float) -> None:
        """Count a value; None counts for nothing."""
        if value is not None:
            self.weighted += value * seconds
            self.seconds += seconds

    @property
    def mean(self) -> float | None:
        """None without any value."""
        return self.weighted / self.seconds if self.seconds else None


@dataclass
class Effectiveness:
    """What is known of the hours that count; every figure is in percent, and None where nothing tells it."""

    window: float
    """How many seconds they are."""
    running: float = 0.0
    """Seconds in a state in which the machine produces."""
    states: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds in each state."""
    performance_rate: Rate = field(default_factory=Rate)
    quality_rate: Rate = field(default_factory=Rate)
    odd_rates: set[str] = field(default_factory=set)
    """The metrics of which a rate was below 0 or above 100 while the machine produced."""

    @property
    def known(self) -> float:
        """Seconds in any state."""
        return sum(self.states.values(), 0.0)

    @property
    def coverage(self) -> float:
        """How much of the time is known."""
        return 100 * self.known / self.window if self.window else 0.0

    @property
    def availability(self) -> float | None:
        """How much of the known time the machine produced."""
        return 100 * self.running / self.known if self.known else None

    @property
    def performance(self) -> float | None:
        """While it produced."""
        return self.performance_rate.mean

    @property
    def quality(self) -> float | None:
        """While it produced."""
        return self.quality_rate.mean

    @property
    def oee(self) -> float | None:
        """Availability times performance times quality; 0 where the machine never produced."""
        if self.known and not self.running:
            return 0.0
        if self.availability is None or self.performance is None or self.quality is None:
            return None
        return self.availability * self.performance * self.quality / 10_000


def measured(
    reader: Reader, table: Table, oee: Oee, device_id: str, span: Span, *, spans: Sequence[Span]
) -> Effectiveness:
    """How a device did in those parts of a span that count, which are oldest first."""
    chosen = TimeFilter(device_id, *span.widened(oee.gap))
    rows = queries.readings.samples(
        reader, table, [oee.status, oee.performance, oee.quality], chosen
    )
    return effectiveness(oee, (StateSample(*row) for row in rows), spans)


def effectiveness(oee: Oee, samples: Iterable[StateSample], spans: Sequence[Span]) -> Effectiveness:
    """The same of samples, oldest first: each holds until the next, unless that is more than the gap later."""
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
    """What may be wrong with the readings or with the declaration, a sentence each."""
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
