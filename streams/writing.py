"""Write payloads as devices do: the inverse of reading them, for simulated devices and checks."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from streams.layout import FieldPlace, Layout, Region
from streams.metric import Metric, Value
from streams.paths import MISSING, Path
from streams.stream import KEY, Stream
from streams.time_writer import TimeWriter
from streams.value_writer import ValueWriter
from streams.wrapping import MemberWrapper, PairWrapper
from utils.json_types import JsonObject


class PayloadWriter:
    """Writes the payloads of a stream. It is made once, because it compiles the declaration.

    Raises ValueError for payloads that are not JSON, and for fields that exclude each other.
    """

    def __init__(self, stream: Stream) -> None:
        if stream.shape.format != "json":
            raise ValueError(f"payloads are {stream.shape.format}, and only json is written")
        self.time = TimeWriter(stream.timestamp)
        self.metrics = {metric.name: ValueWriter(metric) for metric in stream.metrics}
        self._stream = stream
        self._is_plain = stream.is_plain
        self._time_name = stream.timestamp.name
        self._layout = Layout(stream)
        self._wrapper = _Wrapper(stream)
        self.has_time = self._layout.has_time
        """Whether payloads have a place for the time."""
        self._own_places = {metric.name: _own_place(metric) for metric in stream.metrics}

    def payload(self, values: Mapping[str, Value], time: datetime, device_id: str | None) -> Any:
        """Return a payload with these values of metrics, a time and, unless None, a device id.

        The time is naive UTC.
        """
        if self._is_plain:  # the same as below without looking at paths
            return self._plain(values, time, device_id)
        fields = self._heading(time, device_id)
        fields += [
            _Field(place, values[name], self.metrics[name])
            for name, place in self._layout.metrics.items()
            if name in values
        ]
        key = None if device_id is None else self._parts_of(device_id).get(KEY)
        return self._wrapper.payload(fields, self.time.whole(time), key or self._layout.key)

    def single(
        self, metric: Metric, value: Value, time: datetime, device_id: str | None
    ) -> JsonObject:
        """Return a payload for the topic of one metric."""
        written: JsonObject = {}
        fields = self._heading(time, device_id)
        own = _Field(self._own_places[metric.name], value, self.metrics[metric.name])
        _write([*fields, own], written)
        return written

    def _plain(
        self, values: Mapping[str, Value], time: datetime, device_id: str | None
    ) -> JsonObject:
        written: JsonObject = {}
        if device_id is not None and self._stream.device:
            written[self._stream.device] = device_id
        written[self._time_name] = self.time.text(time)
        if self._stream.values:
            written[self._stream.values] = dict(values)
        else:
            written.update(values)
        return written

    def _heading(self, time: datetime, device_id: str | None) -> "list[_Field]":
        """Return what a payload has besides values."""
        layout = self._layout
        fields: list[_Field] = []
        if device_id is not None:
            parts = self._parts_of(device_id)
            found = [(place, parts.get(text)) for text, place in layout.device.items()]
            fields += [_Field(place, part) for place, part in found if part is not None]
        if layout.times:
            parts_of_time = self.time.parts(time)
            fields += map(_Field, layout.times, parts_of_time)
        return [*fields, *(_Field(place, value) for place, value in layout.only)]

    def _parts_of(self, device_id: str) -> Mapping[str, str]:
        stream = self._stream
        return stream.parts_of(device_id) if stream.device_parts else {stream.device: device_id}


class _Field(NamedTuple):
    """A value, and its place in a payload."""

    place: FieldPlace
    value: Any
    writer: ValueWriter | None = None
    """How the value of a metric is written."""

    def write(self, document: Any) -> None:
        """Add the value to what its path begins in."""
        path, value = self.place.path, self.value
        if self.writer is not None:
            found = path.find(document, document) if self.writer.is_part else MISSING
            value = self.writer.raw(value, found)
        path.place(document, value)


class _Wrapper:
    """Makes a payload of the fields of a reading: in pairs, in the reading, and around it."""

    def __init__(self, stream: Stream) -> None:
        shape, layout = stream.shape, Layout(stream)
        self._is_array = layout.is_array
        self._is_single = len(shape.exploded) == 1
        self._members = MemberWrapper(shape.explode) if shape.exploded else None
        self._pairs: PairWrapper | None = None
        self._pairs_at_top: Path | None = None
        if shape.pairs is not None:
            array, name, value, time = (
                shape.pairs.array,
                shape.pairs.name,
                shape.pairs.value,
                shape.pairs.time,
            )
            if array and shape.exploded and Path.of(array).from_top:
                self._pairs_at_top, array = Path.of(array), ""
            self._pairs = PairWrapper(array, name, value, time)

    def payload(self, fields: "Iterable[_Field]", time: Any, key: str | None) -> Any:
        """Return the payload; `time` is for pairs, `key` for an object of readings."""
        parts: dict[Region, list[_Field]] = {region: [] for region in Region}
        for field in fields:
            parts[field.place.region].append(field)
        member: Any = [] if self._is_array else {}
        pairs: Any = None
        if self._pairs is not None:
            named: JsonObject = {}
            _write(parts[Region.PAIRS], named)
            pairs = self._pairs.wrap(named, time)
            member = member if self._pairs_at_top is not None else pairs
        _write(parts[Region.MEMBER], member)
        payload = member
        if self._members is not None:
            payload = self._members.wrap(_bare(member) if self._is_single else member, key)
        if self._pairs_at_top is not None:
            self._pairs_at_top.place(payload, pairs)
        _write(parts[Region.TOP], payload)
        return payload


def _write(fields: "Iterable[_Field]", document: Any) -> None:
    for field in fields:
        field.write(document)


def _bare(member: Any) -> Any:
    """Return the value of a reading that has nothing else, as devices write it."""
    is_bare = isinstance(member, dict) and member.keys() == {"value"}
    return member["value"] if is_bare and not isinstance(member["value"], dict | list) else member


def _own_place(metric: Metric) -> FieldPlace:
    """Return the place of a metric in payloads on a topic of its own."""
    text = metric.paths[0] if metric.path else "value"
    return FieldPlace(Path("", Path.of(text).keys), Region.MEMBER)
