"""Read the fields of a decoded payload by their paths, and convert the values; pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ingest.conversion import Converter
from ingest.values import PayloadError, shown
from models import NO_VALUES, NOT_ONLY
from streams.metric import Metric, Value, Values
from streams.paths import MISSING, Path
from streams.stream import Stream

UNSET = msgspec.UNSET


class Fields(NamedTuple):
    """The fields of a payload before the checks; device and timestamp are UNSET if missing."""

    device: Any
    timestamp: Any
    values: Values
    unread: tuple[str, ...] = ()
    """The errors in values of optional metrics, which are stored as None."""


class NotConcerned(Exception):
    """The stream ignores the message; the text is the reason's code."""


class MetricReader:
    """Finds the value of a metric in a payload, and converts it."""

    def __init__(self, stream: Stream, metric: Metric) -> None:
        self.metric = metric
        self.is_required = metric not in stream.lackable
        self._paths = [Path.of(text) for text in metric.paths]
        self._name = metric.name if not metric.path else self._paths[0].text
        self._converter = Converter(stream, metric)

    def read(self, holder: Any, top: Any) -> Value | None:
        """Return the value to store, or None. Raises PayloadError."""
        found = MISSING
        for path in self._paths:
            found = path.find(holder, top)
            if found is not MISSING and found is not None:
                break
        if found is MISSING:
            if self.is_required:
                raise PayloadError("missing_field", f"{self._name}: missing")
            return None
        return self.convert(found, self._name)

    def convert(self, found: Any, name: str) -> Value | None:
        """Return the value to store for what was found, or None. Raises PayloadError."""
        return self._converter.value(name, found, is_required=self.is_required)


class FieldReader:
    """Reads the fields of the payloads of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._metrics = [MetricReader(stream, metric) for metric in stream.metrics]
        self._device = [Path.of(path) for path in stream.device_paths]
        self._has_parts = bool(stream.device_parts)
        self._times = [Path.of(field) for field in stream.timestamp.fields]
        self._time_required = stream.timestamp.required
        self._values = Path.of(stream.values) if stream.values else None
        self._only = [(Path.of(path), value) for path, value in stream.shape.only.items()]
        self._ignores_empty = stream.shape.empty == "ignore"

    def read(self, payload: Any) -> Fields:
        """Read all fields.

        Raises PayloadError for the first required field that is wrong, NotConcerned.
        """
        if not isinstance(payload, dict):
            raise PayloadError("not_an_object", f"expected a JSON object, not {shown(payload)}")
        self.check_only(payload)
        holder, unread = self._holder(payload), []
        values: list[Value | None] = []
        for reader in self._metrics:
            try:
                values.append(reader.read(holder, payload))
            except PayloadError as error:
                if reader.is_required:
                    raise
                values.append(None)
                unread.append(error)
        if all(value is None for value in values):
            raise unread[0] if unread else self._empty("the payload has none of the metrics")
        device, time = self.device_of(payload), self.time_of(payload)
        return Fields(device, time, tuple(values), tuple(map(str, unread)))

    def check_only(self, payload: Mapping[str, Any]) -> None:
        """Check the values that fields must have. Raises NotConcerned."""
        for path, value in self._only:
            found = path.find(payload, payload)
            if found != value or isinstance(found, bool) is not isinstance(value, bool):
                raise NotConcerned(NOT_ONLY)

    def device_of(self, payload: Any) -> Any:
        """Return the device id that a payload states, or UNSET; a list of parts if it has such."""
        found = [path.find(payload, payload) for path in self._device]
        if self._has_parts and found:
            return found
        return UNSET if not found or found[0] is MISSING else found[0]

    def time_of(self, payload: Any) -> Any:
        """Return the time that a payload states, or UNSET."""
        found = [path.find(payload, payload) for path in self._times]
        if MISSING in found or (None in found and not self._time_required):
            return UNSET
        return found[0] if len(found) == 1 else " ".join(map(str, found))

    def _holder(self, payload: Mapping[str, Any]) -> Any:
        """Return the object that contains the metrics. Raises PayloadError, NotConcerned."""
        if self._values is None:
            return payload
        found = self._values.find(payload, payload)
        name = self._values.text
        if found is MISSING:
            if self._ignores_empty:
                raise NotConcerned(NO_VALUES)
            raise PayloadError("missing_field", f"{name}: missing")
        if not isinstance(found, dict | list):
            message = f"{name}: expected a JSON object, not {shown(found)}"
            raise PayloadError("not_an_object", message)
        return found

    def _empty(self, problem: str) -> Exception:
        if self._ignores_empty:
            return NotConcerned(NO_VALUES)
        names = ", ".join(reader.metric.name for reader in self._metrics)
        return PayloadError("missing_field", f"{problem}: {names}")
