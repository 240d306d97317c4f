"""Compute energy per local hour, day or month, from integrated power or from a meter's counter."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, groupby, pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table

import queries.readings
from queries.readings import TimeFilter
from services.counters import JITTER, PACED, READINGS, Sample, plausible, steps
from streams.stream import Energy, Tariff
from utils import calendar
from utils.calendar import Span, Timeline

Interval = Literal["hour", "day", "month"]
Method = Literal["power", "counter", "both"]
AROUND = PACED + READINGS + 2
"""Samples on either side of a time range that are needed to judge its first and last sample."""
JOULES = 3_600_000
"""Joules in a kilowatt-hour."""


class TimePiece(NamedTuple):
    """A span in which the power changes linearly."""

    span: Span
    first: float
    """Watts at the start."""
    last: float
    """Watts at the end."""
    covered: bool
    """Whether the samples at both ends are close enough."""

    def joules(self, part: Span) -> float:
        """Return the energy of a part of the span."""
        until_middle = (part.start - self.span.start).total_seconds() + part.seconds / 2
        middle = until_middle / self.span.seconds
        return (self.first + (self.last - self.first) * middle) * part.seconds

    def fed_in(self, part: Span) -> float:
        """Return the negative energy of a part of the span, as a number from 0."""
        low, high = sorted((self._watts(part.start), self._watts(part.end)))
        if low >= 0:
            return 0.0
        if high <= 0:
            return -self.joules(part)
        return low * (low / (high - low)) / 2 * part.seconds

    def _watts(self, timestamp: datetime) -> float:
        share = (timestamp - self.span.start).total_seconds() / self.span.seconds
        return self.first + (self.last - self.first) * share


@dataclass(slots=True)
class Hour:
    """The energy of a local hour, or of the requested part of it."""

    span: Span
    local: datetime
    """The start in local time."""
    price: float | None
    """Price of a kilowatt-hour."""
    joules: float = 0.0
    known: float = 0.0
    """Seconds with known energy."""
    covered: float = 0.0
    """Seconds between samples that are close enough."""
    export: float | None = None
    """Payment for a kilowatt-hour fed in."""
    fed_in: float = 0.0
    """Joules fed in; they are contained in `joules` with a negative sign."""

    def cost(self) -> float | None:
        """Return the cost of the energy, less the payment for energy fed in.

        None without a price.
        """
        if self.price is None:
            return None
        paid = 0.0 if self.export is None else self.fed_in * (self.price - self.export)
        return (self.joules * self.price + paid) / JOULES


_BUCKET_OF: dict[Interval, Callable[[Hour], datetime | date | tuple[int, int]]] = {
    # By UTC, because two hours have the same local time when the clocks are put back.
    "hour": lambda hour: hour.span.start,
    "day": lambda hour: hour.local.date(),
    "month": lambda hour: (hour.local.year, hour.local.month),
}


class Figure(NamedTuple):
    """The energy of one period."""

    span: Span
    local: datetime
    energy: float | None
    """In kilowatt-hours; None if unknown."""
    cost: float | None
    """None if unknown, or without a tariff."""
    coverage: float
    """Percentage of the period."""


class EnergyFigures(NamedTuple):
    """The energy of a period: the total, and by hour, day or month, oldest first."""

    method: Method
    total: Figure
    buckets: list[Figure]


def measured(
    reader: Connection,
    table: Table,
    energy: Energy,
    device_id: str,
    span: Span,
    *,
    zone: ZoneInfo,
    interval: Interval,
) -> EnergyFigures:
    """Return the energy of a device; hours covered by the counter use it, others the power."""
    reach = TimeFilter(device_id, *span.widened(energy.gap))
    hours = hours_of(span, zone, energy.tariff)
    if energy.counter:
        samples = _counter_samples(reader, table, reach._replace(metric=energy.counter))
        integrate(counter_pieces(samples, energy.gap), hours)
    uncounted = [hour for hour in hours if not hour.known]
    if uncounted:
        samples = queries.readings.samples(reader, table, [energy.power], reach)
        integrate(power_pieces(samples, energy.gap), uncounted)
    return figures(_method(hours, uncounted), hours, interval)


def hours_of(span: Span, zone: ZoneInfo, tariff: Tariff | None) -> list[Hour]:
    """Return the local hours of a span, still empty."""
    hours = ((hour, calendar.local(hour.start, zone)) for hour in calendar.hours(span, zone))
    if tariff is None:
        return [Hour(hour, local, None) for hour, local in hours]
    return [Hour(hour, local, tariff.at(local.hour), export=tariff.export) for hour, local in hours]


def power_pieces(samples: Iterable[Sample], gap: float) -> Iterator[TimePiece]:
    """Yield pieces of linear power (W) between samples at most `gap` s apart, oldest first."""
    for (start, first), (end, last) in pairwise(samples):
        span = Span(start, end)
        if 0 < span.seconds <= gap:
            yield TimePiece(span, first, last, covered=True)


def counter_pieces(samples: Iterable[Sample], gap: float) -> Iterator[TimePiece]:
    """Yield pieces of mean power between samples of a counter (kWh), oldest first.

    The samples may be any time apart. A fall of at most a tenth is jitter: nothing is counted until
    the counter exceeds its old value. After a larger fall it restarted at 0, unless it comes back:
    see `plausible`. A step that the counter cannot have counted yields no piece: see `steps`.
    """
    mark = float("-inf")
    for (start, old), (end, new), counted in steps(plausible(samples, gap)):
        if not counted:
            mark = new
            continue
        mark = max(mark, old)
        if new >= mark:
            used = new - mark
        elif old - new <= JITTER * old:
            used = 0.0
        else:
            used = mark = new
        span = Span(start, end)
        watts = used * JOULES / span.seconds
        yield TimePiece(span, watts, watts, span.seconds <= gap)


def integrate(pieces: Iterable[TimePiece], hours: Sequence[Hour]) -> None:
    """Add pieces, oldest first, to the hours that they touch."""
    timeline = Timeline([hour.span for hour in hours])
    for piece in pieces:
        for number, part in timeline.parts(piece.span):
            hour = hours[number]
            hour.joules += piece.joules(part)
            if hour.export is not None:
                hour.fed_in += piece.fed_in(part)
            hour.known += part.seconds
            hour.covered += part.seconds if piece.covered else 0.0


def figures(method: Method, hours: Sequence[Hour], interval: Interval) -> EnergyFigures:
    """Return the total of all hours, and the figure of each hour, day or month."""
    buckets = [_figure(list(group)) for _, group in groupby(hours, _BUCKET_OF[interval])]
    return EnergyFigures(method, _figure(hours), buckets)


def _method(hours: Sequence[Hour], uncounted: Sequence[Hour]) -> Method:
    if len(uncounted) == len(hours):
        return "power"
    return "both" if any(hour.known for hour in uncounted) else "counter"


def _counter_samples(reader: Connection, table: Table, chosen: TimeFilter) -> Iterator[Sample]:
    """Return the samples in a time range, and the nearest on either side of it."""
    # The outer samples are read first: some drivers run one query at a time.
    before = chosen._replace(start=None, end=chosen.start)
    after = chosen._replace(start=chosen.end, end=None)
    last = queries.readings.last_samples(reader, table, before, AROUND)
    first = queries.readings.first_samples(reader, table, after, AROUND)
    within = queries.readings.samples(reader, table, [str(chosen.metric)], chosen)
    return chain(last, within, first)


def _figure(hours: Sequence[Hour]) -> Figure:
    span = Span(hours[0].span.start, hours[-1].span.end)
    known = any(hour.known for hour in hours)
    energy = sum(hour.joules for hour in hours) / JOULES
    costs = [cost for hour in hours if (cost := hour.cost()) is not None]
    covered = sum(hour.covered for hour in hours)
    return Figure(
        span,
        hours[0].local,
        energy if known else None,
        sum(costs) if known and costs else None,
        100 * covered / span.seconds,
    )
