"""Values that look measured: a daily course with a random walk, states, products."""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, assert_never

from streams.metric import Metric, Simulation

DAY = 86_400.0
_LOWEST_AT = 3 * 3600.0
"""Seconds after midnight UTC of the daily minimum; the maximum is 12 hours later."""
CORRELATION = 60.0
"""Seconds in which the deviation of a random walk decays to 1/e."""
_PHASE_SPREAD = 1200.0


class Walk:
    """A number of a device: mean + daily swing + an Ornstein-Uhlenbeck walk."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._random = random
        self._noise = simulation.noise
        self._swing = simulation.swing
        self._low = -math.inf if simulation.minimum is None else simulation.minimum
        self._high = math.inf if simulation.maximum is None else simulation.maximum
        self._digits = _digits(simulation)
        offset = random.uniform(-1, 1) * (0.1 * simulation.swing + 0.5 * simulation.noise)
        self._centre = simulation.mean + offset
        self._phase = _LOWEST_AT + random.uniform(-_PHASE_SPREAD, _PHASE_SPREAD)
        self._deviation = random.gauss(0, simulation.noise)
        self._last: float | None = None
        self._start: float | None = None

    def go_on_from(self, value: float) -> None:
        """Start with this value, and drift back to the daily course."""
        self._start = value

    def next(self, seconds: float) -> float:
        """Return the value at a time in epoch seconds; times never decrease."""
        elapsed = 0.0 if self._last is None else seconds - self._last
        self._last = seconds
        course = self._centre - self._swing * math.cos(math.tau * (seconds - self._phase) / DAY)
        if self._start is not None:
            self._deviation, self._start = self._start - course, None
        kept = math.exp(-elapsed / CORRELATION)
        # The variance added is what the decay took, so the walk keeps its spread at every interval.
        self._deviation = kept * self._deviation + self._random.gauss(
            0, self._noise * math.sqrt(1 - kept * kept)
        )
        return min(max(round(course + self._deviation, self._digits), self._low), self._high)


class Rounded:
    """An integer of a device: a walk, rounded."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def go_on_from(self, value: int) -> None:
        """Start with this value, and drift back to the daily course."""
        self._walk.go_on_from(value)

    def next(self, seconds: float) -> int:
        """Return the value at a time in epoch seconds; times never decrease."""
        return round(self._walk.next(seconds))


class States:
    """A state of a device: each lasts for a random time, then another one follows."""

    def __init__(self, states: Sequence[str | bool], hold: float, random: Random) -> None:
        self._random = random
        self._states = states
        self._hold = hold
        self._state = random.choice(states)
        self._until: float | None = None

    def go_on_from(self, state: str | bool) -> None:
        """Start with this state, if it is declared."""
        if state in self._states:
            self._state = state

    def next(self, seconds: float) -> str | bool:
        """Return the state at a time in epoch seconds; times never decrease."""
        if self._until is None:
            self._until = seconds + self._while()
        elif seconds >= self._until:
            others = [state for state in self._states if state != self._state]
            self._state = self._random.choice(others or self._states)
            self._until = seconds + self._while()
        return self._state

    def _while(self) -> float:
        return self._hold * self._random.expovariate(1)


class Product:
    """A number of a device that is the product of other current values."""

    def __init__(self, metric: Metric, current: Mapping[str, Any]) -> None:
        self._names = metric.simulate.product
        self._factor = metric.simulate.factor
        self._digits = 2 if metric.type == "number" else None
        self._current = current

    def next(self, _seconds: float) -> float:
        """Return the product of the current values, times the factor."""
        product: float = math.prod(self._current[name] for name in self._names)
        return round(product * self._factor, self._digits)


Source = Walk | Rounded | States | Product


def source(metric: Metric, random: Random, current: Mapping[str, Any]) -> Source:
    """Return the source of a metric; `current` has the values of the metrics declared before."""
    match metric.type:
        case "number" | "integer" if metric.simulate.product:
            return Product(metric, current)
        case "number":
            return Walk(metric.simulate, random)
        case "text":
            return States(metric.simulate.states, metric.simulate.hold, random)
        case "boolean":
            return States((True, False), metric.simulate.hold, random)
        case "integer":
            return Rounded(Walk(metric.simulate, random))
        case _:
            assert_never(metric.type)


def _digits(simulation: Simulation) -> int:
    """Return the decimals that resolve the noise: 2 for a noise of 0.3, 1 for 8, 0 for 50."""
    scale = abs(simulation.noise or simulation.swing or 1.0)
    return min(max(1 - math.floor(math.log10(scale)), 0), 6)
