"""Checks of what a stream declares about figures: OEE, energy and tariff."""

import math

from streams.checks import expect
from streams.stream import Energy, Oee, Stream, Tariff

MAX_GAP = 31_622_400.0
"""Seconds in a leap year."""


def check_figures(stream: Stream) -> None:
    """Check the parts of a stream that figures are computed from. Raises StreamError."""
    if stream.oee is not None:
        _check_oee(stream, stream.oee)
    if stream.energy is not None:
        _check_energy(stream, stream.energy)


def _check_oee(stream: Stream, oee: Oee) -> None:
    texts = [metric.name for metric in stream.metrics if metric.type == "text"]
    expect(oee.status in texts, "oee.status", f"a text metric: {', '.join(texts)}")
    _check_quantity(stream, "oee.performance", oee.performance)
    _check_quantity(stream, "oee.quality", oee.quality)
    expect(oee.running, "oee.running", "at least one state")
    expect(0 < oee.gap <= MAX_GAP, "oee.gap", "a number of seconds above 0, at most a year")


def _check_energy(stream: Stream, energy: Energy) -> None:
    _check_quantity(stream, "energy.power", energy.power)
    if energy.counter:
        _check_quantity(stream, "energy.counter", energy.counter)
    expect(0 < energy.gap <= MAX_GAP, "energy.gap", "a number of seconds above 0, at most a year")
    if energy.tariff is not None:
        _check_tariff(energy.tariff)


def _check_tariff(tariff: Tariff) -> None:
    prices = [tariff.price, *(hours.price for hours in tariff.hours)]
    valid = all(0 <= price < math.inf for price in prices)
    expect(valid, "energy.tariff", "prices of at least 0")
    export = 0 if tariff.export is None else tariff.export
    expect(0 <= export < math.inf, "energy.tariff.export", "a price of at least 0")
    taken: set[int] = set()
    for hours in tariff.hours:
        within = 0 <= hours.start < hours.end <= 24
        expect(within, "energy.tariff.hours", "from and to within 0 to 24, from before to")
        span = set(range(hours.start, hours.end))
        expect(not span & taken, "energy.tariff.hours", "no hour of the day twice")
        taken |= span


def _check_quantity(stream: Stream, key: str, name: str) -> None:
    names = [metric.name for metric in stream.metrics if metric.is_quantity]
    expect(name in names, key, f"a numeric metric: {', '.join(names)}")
