"""A simulated device: creates the messages that its stream declares."""

import itertools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

from simulators import faults, values
from streams import writing
from streams.metric import Metric, Simulation, Value
from streams.stream import Stream
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

    def __init__(self, stream: Stream, device_id: str, seed: int, share: float = 0.0) -> None:
        self.device_id = device_id
        self._stream = stream
        self._share = share
        random = Random(f"{seed}/{stream.name}/{device_id}")
        # Faults draw from their own sequence, so that valid values do not depend on the share of
        # faults.
        self._faults = Random(f"{seed}/{stream.name}/{device_id}/faults")
        self._metrics = _measured(stream)
        self._current: dict[str, Value] = {}
        self._sources = {
            metric.name: values.source(metric, random, self._current) for metric in self._metrics
        }
        self._turns = itertools.cycle(self._metrics)
        self._topics = {m.name: stream.topic_of(device_id, m.level) for m in self._metrics}
        self._paths = {metric.name: _path(stream, device_id, metric) for metric in self._metrics}
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
        if self._stream.topic.has_metric:
            return self._single(next(self._turns), invalid)
        body = self._reading()
        payload = (
            faults.spoil_object(self._stream, body, self._faults)
            if invalid
            else _encode(body).encode()
        )
        return self._message(self._metrics[0], payload, invalid)

    def _single(self, metric: Metric, invalid: bool) -> SimulatedMessage:
        value = self._current[metric.name] = self._next(metric)
        body = writing.single(self._stream, metric, value, self._last, self._named())
        payload = faults.spoil_value(metric, self._faults) if invalid else _encode(body).encode()
        return self._message(metric, payload, invalid)

    def _reading(self) -> dict[str, object]:
        for metric in self._metrics:
            self._current[metric.name] = self._next(metric)
        return writing.payload(self._stream, self._current, self._last, self._named())

    def _next(self, metric: Metric) -> Value:
        seconds = (self._last - EPOCH).total_seconds()
        return writing.representable(metric, self._sources[metric.name].next(seconds))

    def _named(self) -> str | None:
        stream = self._stream
        return self.device_id if stream.device_paths and not stream.is_named_by_topic else None

    def _message(self, metric: Metric, payload: bytes, invalid: bool) -> SimulatedMessage:
        return SimulatedMessage(
            self._topics[metric.name], payload, invalid, self._paths[metric.name]
        )


def devices(stream: Stream, count: int, seed: int, share: float = 0.0) -> list[SimulatedDevice]:
    """Return devices, named as declared or `<stream>_001` …; `share` of messages are broken."""
    names = stream.simulate.names or f"{stream.name}_{{:03}}"
    return [
        SimulatedDevice(stream, names.format(number), seed, share) for number in range(1, count + 1)
    ]


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
