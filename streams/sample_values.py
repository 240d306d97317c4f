"""Values for examples of a stream's readings."""

import math
from collections.abc import Iterator
from typing import Any, assert_never

from streams.metric import Metric, Simulation, Value
from streams.stream import Stream
from streams.value_writer import ValueWriter


def average_values(stream: Stream) -> dict[str, Value]:
    """Return the average values of a simulated device, by the names of their metrics."""
    values: dict[str, Value] = {}
    for metric in stream.metrics:
        average = _average(metric, values)
        values[metric.name] = ValueWriter(metric).representable(average)
    return values


def distinct_values(stream: Stream) -> Iterator[dict[str, Value]]:
    """Yield values of all metrics, so that any two of them differ at least once if they can."""
    for bit in range(len(stream.metrics).bit_length()):
        yield {
            metric.name: ValueWriter(metric).representable(_distinct(metric, number, bit))
            for number, metric in enumerate(stream.metrics, 2)
        }


def _average(metric: Metric, before: dict[str, Any]) -> Value:
    match metric.type:
        case "number":
            return _average_number(metric.simulate, before)
        case "text":
            return metric.simulate.states[0]
        case "boolean":
            return True
        case "integer":
            return round(_average_number(metric.simulate, before))
        case _:
            assert_never(metric.type)


def _average_number(simulation: Simulation, before: dict[str, Any]) -> float:
    value = simulation.mean
    if simulation.product:
        value = simulation.factor * math.prod(before[name] for name in simulation.product)
    low = -math.inf if simulation.minimum is None else simulation.minimum
    return min(max(value, low), math.inf if simulation.maximum is None else simulation.maximum)


def _distinct(metric: Metric, number: int, bit: int) -> Value:
    is_set = bool(number >> bit & 1)
    if metric.map:
        return [*metric.map.values()][-1 if is_set else 0]
    match metric.type:
        case "number":
            return number + 0.5
        case "text":
            return f"text {number}"
        case "boolean":
            return is_set
        case "integer":
            return number
        case _:
            assert_never(metric.type)
