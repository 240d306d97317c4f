"""A simulated device: given a time, it makes its next message, in the form its stream declares."""

import itertools
import json
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from simulators import faults, values
from streams.declaration import Metric, Stream
from utils.clock import EPOCH

_TICK = timedelta(microseconds=1)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Message(NamedTuple):
    """What is published: where, what, and whether it is broken on purpose."""

    topic: str
    payload: bytes
    invalid: bool = False


class Device:
    """One device of a stream, a share of whose messages is broken; the same seed and times make the same messages."""

    def __init__(self, stream: Stream, device_id: str, seed: int, share: float = 0.0) -> None:
        self.device_id = device_id
        self._stream = stream
        self._share = share
        random = Random(f"{seed}/{stream.name}/{device_id}")
        # Faults draw from their own sequence, so that valid values do not depend on the share of faults.
        self._faults = Random(f"{seed}/{stream.name}/{device_id}/faults")
        self._sources = {metric.name: values.source(metric, random) for metric in stream.metrics}
        self._turns = itertools.cycle(stream.metrics)
        self._topics = {m.name: stream.topic.fill(device_id, m.level) for m in stream.metrics}
        self._last = EPOCH

    def next(self, moment: datetime, invalid: bool | None = None) -> Message:
        """The message at a time in naive UTC: a whole reading, or the next metric's where each has its topic.

        A time that is not later than the last message's becomes the microsecond after it.
        Whether it is broken is a matter of chance, unless it is said.
        """
        if invalid is None:
            invalid = self._faults.random() < self._share
        self._last = max(moment, self._last + _TICK)
        if self._stream.topic.has_metric:
            return self._single(next(self._turns), invalid)
        body = self._reading()
        payload = faults.spoil_object(self._stream, body, self._faults) if invalid else _encode(body).encode()
        return Message(self._topics[self._stream.metrics[0].name], payload, invalid)

    def _single(self, metric: Metric, invalid: bool) -> Message:
        value = self._sources[metric.name].next(self._seconds())
        payload = faults.spoil_value(metric, self._faults) if invalid else _encode(value).encode()
        return Message(self._topics[metric.name], payload, invalid)

    def _reading(self) -> dict[str, object]:
        seconds = self._seconds()
        measured: dict[str, object] = {name: source.next(seconds) for name, source in self._sources.items()}
        body: dict[str, object] = {}
        if not self._stream.topic.has_device:
            body[self._stream.device] = self.device_id
        body[self._stream.timestamp.field] = self._last.isoformat(timespec="microseconds") + "Z"
        body |= {self._stream.values: measured} if self._stream.values else measured
        return body

    def _seconds(self) -> float:
        return (self._last - EPOCH).total_seconds()


def devices(stream: Stream, count: int, seed: int, share: float = 0.0) -> list[Device]:
    """Devices `ESP32_001`, `ESP32_002` … (or `<stream>_001` …); a share of their messages is broken."""
    prefix = "ESP32" if stream.name == "sensors" else stream.name
    return [Device(stream, f"{prefix}_{number:03d}", seed, share) for number in range(1, count + 1)]
