"""Write payloads as devices do: the inverse of reading them, for simulated devices and checks."""

from collections.abc import Mapping
from datetime import datetime

from streams.metric import Metric, Value
from streams.paths import MISSING, Path
from streams.stream import Stream
from streams.time_writer import TimeWriter
from streams.value_writer import ValueWriter
from utils.json_types import JsonObject


class PayloadWriter:
    """Writes the payloads of a stream. It is made once, because it compiles the declaration."""

    def __init__(self, stream: Stream) -> None:
        self.time = TimeWriter(stream.timestamp)
        self.metrics = {metric.name: ValueWriter(metric) for metric in stream.metrics}
        self._stream = stream
        self._is_plain = stream.is_plain
        self._device = [(text, Path.of(text)) for text in stream.device_paths]
        self._time_name = stream.timestamp.name
        self._time_fields = [Path.of(text) for text in stream.timestamp.fields]
        self._only = [(Path.of(text), value) for text, value in stream.shape.only.items()]
        root = Path.of(stream.values).keys if stream.values else ()
        writers = [(metric, self.metrics[metric.name]) for metric in stream.metrics]
        self._places = {m.name: _ValuePlace(_path(m, root), writer) for m, writer in writers}
        self._own_places = {m.name: _ValuePlace(_own_path(m), writer) for m, writer in writers}

    def payload(
        self, values: Mapping[str, Value], time: datetime, device_id: str | None
    ) -> JsonObject:
        """Return a payload with these values of metrics, a time and, unless None, a device id.

        The time is naive UTC.
        """
        written = self._heading(time, device_id)
        if not self._is_plain:
            for name, place in self._places.items():
                if name in values:
                    place.write(written, values[name])
        elif self._stream.values:
            written[self._stream.values] = dict(values)
        else:
            written.update(values)
        return written

    def single(
        self, metric: Metric, value: Value, time: datetime, device_id: str | None
    ) -> JsonObject:
        """Return a payload for the topic of one metric."""
        written = self._heading(time, device_id)
        self._own_places[metric.name].write(written, value)
        return written

    def _heading(self, time: datetime, device_id: str | None) -> JsonObject:
        """Return what a payload has besides values."""
        written: JsonObject = {}
        if self._is_plain:  # the same as below without looking at paths
            for name, _path in self._device if device_id is not None else ():
                written[name] = device_id
            written[self._time_name] = self.time.text(time)
            return written
        if device_id is not None:
            self._write_device(written, device_id)
        for path, part in zip(self._time_fields, self.time.parts(time), strict=True):
            path.place(written, part)
        for path, value in self._only:
            path.place(written, value)
        return written

    def _write_device(self, document: JsonObject, device_id: str) -> None:
        stream = self._stream
        parts = stream.parts_of(device_id) if stream.device_parts else {stream.device: device_id}
        for text, path in self._device:
            if text in parts:
                path.place(document, parts[text])


class _ValuePlace:
    """Writes the values of a metric to their place in payloads."""

    def __init__(self, path: Path, writer: ValueWriter) -> None:
        self._path = path
        self._writer = writer

    def write(self, document: JsonObject, value: Value) -> None:
        """Add a value to a payload."""
        found = self._path.find(document, document) if self._writer.is_part else MISSING
        self._path.place(document, self._writer.raw(value, found))


def _path(metric: Metric, root: tuple[str | int, ...]) -> Path:
    """Return the place of a metric among others; their paths begin at `root`."""
    path = Path.of(metric.paths[0])
    return Path("", path.keys if path.from_top else (*root, *path.keys))


def _own_path(metric: Metric) -> Path:
    """Return the place of a metric in payloads on a topic of its own."""
    return Path.of(metric.paths[0] if metric.path else "value")
