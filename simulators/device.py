"""A simulated device: creates the messages that its stream declares."""

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from simulators import faults, values
from streams.metric import Metric, Simulation, Value
from streams.stream import Stream
from streams.value_writer import ValueWriter
from streams.writing import PayloadWriter
from utils.clock import EPOCH

_TICK = timedelta(microseconds=1)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SimulatedMessage(NamedTuple):
    """A message to publish; `invalid` if it is broken on purpose."""

    topic: str
    payload: bytes
    invalid: bool
    path: str
    """The URL path for HTTP, with device and metric if the topic has them."""


class SimulatedDevice:
    """A device of a stream; `share` of its messages are broken. Equal seeds repeat the values."""

    def __init__(
        self,
        stream: Stream,
        device_id: str,
        seed: int,
        share: float = 0.0,
        writer: PayloadWriter | None = None,
    ) -> None:
        self.device_id = device_id
        self._stream = stream
        self._writer = writer or PayloadWriter(stream)
        self._named = device_id if stream.is_named_by_payload else None
        self._share = share
        random = Random(f"{seed}/{stream.name}/{device_id}")
        # Faults draw from their own sequence, so that valid values do not depend on the share of
        # faults.
        self._faults = Random(f"{seed}/{stream.name}/{device_id}/faults")
        metrics = _measured(stream)
        self._current: dict[str, Value] = {}
        self._sources = {m.name: values.source(m, random, self._current) for m in metrics}
        self._next_values = {
            name: _representable(source, self._writer.metrics[name])
            for name, source in self._sources.items()
        }
        self._turns = itertools.cycle([_Turn.of(stream, device_id, metric) for metric in metrics])
        self._last = EPOCH

    def go_on_from(self, reading: Mapping[str, Any]) -> None:
        """Start with the values of an earlier reading, where it has them."""
        for name, source in self._sources.items():
            if reading.get(name) is not None and not isinstance(source, values.Product):
                source.go_on_from(reading[name])

    def next(self, timestamp: datetime, invalid: bool | None = None) -> SimulatedMessage:
        """Return the message at a naive UTC time: a whole reading, or the next metric's.

        A time that is not later than the last message's becomes the microsecond after it.
        The message is broken at random, unless `invalid` is given.
        """
        if invalid is None:
            invalid = self._faults.random() < self._share
        self._last = max(timestamp, self._last + _TICK)
        turn = next(self._turns)
        payload = self._single(turn.metric, invalid) if turn.is_alone else self._reading(invalid)
        return SimulatedMessage(turn.topic, payload, invalid, turn.path)

    def _single(self, metric: Metric, invalid: bool) -> bytes:
        value = self._current[metric.name] = self._next_values[metric.name](self._seconds())
        if invalid:
            return faults.spoil_value(metric, self._faults)
        return _encode(self._writer.single(metric, value, self._last, self._named)).encode()

    def _reading(self, invalid: bool) -> bytes:
        seconds = self._seconds()
        for name, next_value in self._next_values.items():
            self._current[name] = next_value(seconds)
        body = self._writer.payload(self._current, self._last, self._named)
        if invalid:
            return faults.spoil_reading(self._stream, body, self._faults)
        return _encode(body).encode()

    def _seconds(self) -> float:
        return (self._last - EPOCH).total_seconds()


class _Turn(NamedTuple):
    """Where a device publishes a metric; the same for all of them if they share a topic."""

    metric: Metric
    is_alone: bool
    """Whether the metric has a topic of its own."""
    topic: str
    path: str

    @classmethod
    def of(cls, stream: Stream, device_id: str, metric: Metric) -> Self:
        """Return where a device publishes a metric of a stream."""
        topic = stream.topic_of(device_id, metric.level)
        return cls(metric, stream.topic.has_metric, topic, _path(stream, device_id, metric))


def devices(stream: Stream, count: int, seed: int, share: float = 0.0) -> list[SimulatedDevice]:
    """Return devices, named as declared or `<stream>_001` …; `share` of messages are broken."""
    names = stream.simulate.names or f"{stream.name}_{{:03}}"
    writer = PayloadWriter(stream)
    return [
        SimulatedDevice(stream, names.format(number), seed, share, writer)
        for number in range(1, count + 1)
    ]


def _representable(source: values.Source, writer: ValueWriter) -> Callable[[float], Value]:
    """Return the source's `next`, with values that payloads can have."""
    if writer.is_exact:
        return source.next
    return lambda seconds: writer.representable(source.next(seconds))


def _measured(stream: Stream) -> tuple[Metric, ...]:
    """Return the metrics to simulate: required, described, or the factor of another."""
    described = tuple(
        m
        for m in stream.metrics
        if m.required or m.simulate != Simulation() or m.name in _factors(stream)
    )
    return described or stream.metrics


def _factors(stream: Stream) -> set[str]:
    return {name for metric in stream.metrics for name in metric.simulate.product}


def _path(stream: Stream, device_id: str, metric: Metric) -> str:
    query = {"device_id": device_id} if stream.is_named_by_topic else {}
    if stream.topic.has_metric:
        query["metric"] = metric.name
    return f"/api/{stream.name}/readings{'?' if query else ''}{urlencode(query)}"
