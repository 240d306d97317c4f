"""Make the readings that `flask verify` publishes."""

import math
from datetime import datetime
from typing import Any, NamedTuple, assert_never

from models import VERIFY_DEVICE
from streams.metric import Metric, Simulation, Value
from streams.rest import BARE
from streams.stream import Stream
from streams.value_writer import ValueWriter
from streams.writability import unwritable
from streams.writing import PayloadWriter
from utils import clock


class VerificationSample(NamedTuple):
    """A reading to publish, and the values that the backend should then serve."""

    topic: str
    payload: Any
    expected: dict[str, Any]
    at: datetime


def unverifiable(stream: Stream) -> str:
    """Return why no reading of a stream can be published and found again, or an empty text."""
    if not stream.can_name(VERIFY_DEVICE):
        return f"no message of it can name the device {VERIFY_DEVICE}"
    if reason := unwritable(stream):
        return f"its payloads cannot be written: {reason}"
    if not PayloadWriter(stream).has_time:
        return "its payloads have no place for a time"
    return ""


def plausible(stream: Stream, metric: Metric | None = None) -> VerificationSample:
    """Return a reading of `autoforge-verify` dated now.

    Where each metric has its own topic it has one metric: this one, or the first.
    """
    writer = PayloadWriter(stream)
    now = writer.time.representable(clock.now())
    at = clock.rfc3339(now)
    named = VERIFY_DEVICE if stream.is_named_by_payload else None
    values = plausible_values(stream)
    level = ""
    if stream.topic.has_metric:
        only = metric or stream.metrics[0]
        level, values = only.level, {only.name: values[only.name]}
        payload = writer.single(only, values[only.name], now, named)
    else:
        payload = writer.payload(values, now, named)
    if not stream.metrics:
        payload |= (values := {BARE: 1.0})
    topic = stream.topic_of(VERIFY_DEVICE, level)
    return VerificationSample(
        topic, payload, {"device_id": VERIFY_DEVICE, "timestamp": at, **values}, now
    )


def plausible_values(stream: Stream) -> dict[str, Value]:
    """Return the average values of a simulated device."""
    values: dict[str, Value] = {}
    for metric in stream.metrics:
        plausible_value = _plausible_value(metric, values)
        values[metric.name] = ValueWriter(metric).representable(plausible_value)
    return values


def _plausible_value(metric: Metric, before: dict[str, Any]) -> Value:
    match metric.type:
        case "number":
            return _plausible_number(metric.simulate, before)
        case "text":
            return metric.simulate.states[0]
        case "boolean":
            return True
        case "integer":
            return round(_plausible_number(metric.simulate, before))
        case _:
            assert_never(metric.type)


def _plausible_number(simulation: Simulation, before: dict[str, Any]) -> float:
    value = simulation.mean
    if simulation.product:
        value = simulation.factor * math.prod(before[name] for name in simulation.product)
    low = -math.inf if simulation.minimum is None else simulation.minimum
    return min(max(value, low), math.inf if simulation.maximum is None else simulation.maximum)
