"""Read the fields of a decoded payload by their paths, and convert the values; pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.conversion import Converter
from ingest.rest import RestFields, RestReader
from ingest.showing import Spelled, shown
from ingest.values import NUMBER, PayloadError, ValueFault, detached, first_error
from models import NO_VALUES, NOT_ONLY
from streams.metric import Metric, Value, Values
from streams.paths import MISSING, Path
from streams.payload_shape import PayloadShape
from streams.stream import Stream
from utils.exact_numbers import EXACT

UNSET = msgspec.UNSET
_STORED = (float, int, str)
MAX_PART = 101
"""Characters of a part of a time; with one more than a time may have it is none."""
LONG = 64
"""Characters of a text; what becomes of a longer one is remembered until the next."""


class Fields(msgspec.Struct, gc=False):
    """The fields of a payload before the checks; device and timestamp are UNSET if missing."""

    device: Any
    timestamp: Any
    values: Values
    faults: tuple[ValueFault, ...] = ()
    """The values of optional metrics that are missing or could not be read."""
    rest: RestFields | None = None
    """The fields that no metric takes, if they are kept."""
    left_out: int = 0
    """How many of these are not kept."""

    def within(self, place: str) -> "Fields":
        """Return the fields of a payload with several readings, of which these are the one."""
        faults = tuple([fault.within(place) for fault in self.faults])
        return msgspec.structs.replace(self, faults=faults)


class NotConcerned(Exception):
    """The stream ignores the message; the text is the reason's code."""


def nothing_read(shape: PayloadShape, text: str, *, names_field: bool = True) -> Exception:
    """Return that a message without values is ignored, or the error that it is, as declared."""
    if shape.empty == "ignore":
        return NotConcerned(NO_VALUES)
    return PayloadError("missing_field", text, names_field=names_field)


class MetricReader:
    """Finds the value of a metric in a payload, and converts it."""

    def __init__(self, stream: Stream, metric: Metric) -> None:
        self.metric = metric
        self.is_required = metric not in stream.lackable
        self._paths = [Path.of(text) for text in metric.paths]
        self._name = metric.name if not metric.path else self._paths[0].text
        self._converter = Converter(stream, metric)
        self._last: tuple[str, Value | ValueFault | PayloadError | None] = "", None
        self.has_index = isinstance(self._paths[0].keys[0], int)
        """Whether it is in an array."""
        self._direct = _key_of(self._paths) if self._converter.keeps_numbers else None

    def read(self, holder: Any, top: Any, faults: list[ValueFault]) -> Value | None:
        """Return the value to store, or None, as `convert` does. Raises PayloadError."""
        if self._direct is not None and type(holder) is dict:
            # The usual case: a number that needs no second look.
            number = holder.get(self._direct)
            if type(number) in (Spelled, int) and number and -EXACT < number < EXACT:
                return float(number)
        found = MISSING
        for path in self._paths:
            here = path.find(holder, top)
            if here is not MISSING:
                found = here
                if path is self._paths[-1] or not self._converter.is_null(found):
                    break
        if found is MISSING:
            if self.is_required:
                raise PayloadError("missing_field", f"{self._name}: missing")
            return None
        return self.convert(found, self._name, faults)

    def convert(self, found: Any, name: str, faults: list[ValueFault]) -> Value | None:
        """Return the value to store for what was found, or None.

        Where an optional metric has none, add a fault. Where a required one does, raise
        PayloadError.
        """
        # A message can have 10,000 readings of one long text.
        if type(found) is not str or len(found) <= LONG:
            outcome = self._outcome(found, name)
        else:
            text, outcome = self._last
            if text is not found:
                outcome = self._outcome(found, name)
                self._last = found, outcome
        if outcome is None or isinstance(outcome, _STORED):
            return outcome
        if isinstance(outcome, PayloadError):
            raise detached(outcome)
        faults.append(outcome)
        return None

    def _outcome(self, found: Any, name: str) -> Value | ValueFault | PayloadError | None:
        """Return the value to store, or what is wrong: an error if it is required."""
        try:
            value = self._converter.value(name, found, is_required=self.is_required)
        except PayloadError as error:
            if self.is_required:
                return error
            return ValueFault.of(self.metric.name, shown(found), error)
        if value is None and self._converter.has_piece(found):
            return ValueFault(self.metric.name, shown(found))
        return value


class FieldReader:
    """Reads the fields of the payloads of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._metrics = [MetricReader(stream, metric) for metric in stream.metrics]
        self._device = [Path.of(path) for path in stream.device_paths]
        self._has_parts = bool(stream.device_parts) and not stream.is_joined_from_topic
        self._device_key = None if self._has_parts else _key_of(self._device)
        self._times = [Path.of(field) for field in stream.timestamp.fields]
        self._time_key = _key_of(self._times)
        self._time_required = stream.timestamp.required
        self._values = Path.of(stream.values) if stream.values else None
        self._only = [(Path.of(path), value) for path, value in stream.shape.only.items()]
        self._shape = stream.shape
        self._has_texts = stream.shape.format == "csv"
        self._rest = RestReader(stream) if stream.keeps_rest else None
        self._takes_list = begins_with_index(stream) or stream.keeps_rest

    def read(self, payload: Any, top: Any) -> Fields:
        """Read all fields of a payload, or of a member of one; `top` is the whole of it.

        Raises PayloadError for the first required field that is wrong, NotConcerned.
        """
        if not isinstance(payload, dict) and not (self._takes_list and type(payload) is list):
            text = f"expected a JSON object, not {shown(payload)}"
            raise PayloadError("not_an_object", text, names_field=False)
        if self._only:
            self.check_only(payload, top)
        holder = payload if self._values is None else self._holder(payload, top, self._values)
        faults: list[ValueFault] = []
        values = [reader.read(holder, top, faults) for reader in self._metrics]
        rest, left_out = None, 0
        if self._rest is not None:
            rest, left_out = self._rest.read(payload, faults)
        if values.count(None) == len(values) and not rest:
            raise first_error(faults) or self._empty()
        device, time = self.device_of(payload, top), self.time_of(payload, top)
        return Fields(device, time, tuple(values), tuple(faults), rest, left_out)

    def check_only(self, payload: Any, top: Any) -> None:
        """Check the values that fields must have. Raises NotConcerned."""
        for path, value in self._only:
            if not self._is(path.find(payload, top), value):
                raise NotConcerned(NOT_ONLY)

    def _is(self, found: Any, value: Value) -> bool:
        """Return whether a field has a value; the cells of CSV are texts, whatever they mean."""
        if self._has_texts and isinstance(found, str) and not isinstance(value, str):
            text = found.strip()
            if isinstance(value, bool):
                return text.casefold() == str(value).casefold()
            return NUMBER.fullmatch(text) is not None and float(text) == value
        return bool(found == value) and isinstance(found, bool) is isinstance(value, bool)

    def device_of(self, payload: Any, top: Any) -> Any:
        """Return the device id that a payload states, or UNSET; a list of parts if it has such."""
        if self._device_key is not None and type(payload) is dict:
            return payload.get(self._device_key, UNSET)
        found = [path.find(payload, top) for path in self._device]
        if self._has_parts:
            return found
        return UNSET if not found or found[0] is MISSING else found[0]

    def time_of(self, payload: Any, top: Any) -> Any:
        """Return the time that a payload states, or UNSET.

        Of two parts, the only one that is stated is returned: it is no time, but it is shown.
        """
        if self._time_key is not None and type(payload) is dict:
            stated = payload.get(self._time_key, UNSET)
            return UNSET if stated is None and not self._time_required else stated
        found = [path.find(payload, top) for path in self._times]
        if self._time_required and MISSING in found:
            return UNSET
        if not self._time_required:
            found = [part for part in found if part is not MISSING and part is not None]
        if not found:
            return UNSET
        if len(self._times) == 1:
            return found[0]
        if any(isinstance(one, list | dict) for one in found):
            return found  # which is no time
        return " ".join([one[:MAX_PART] if isinstance(one, str) else str(one) for one in found])

    def _holder(self, payload: Any, top: Any, values: Path) -> Any:
        """Return the object that contains the metrics. Raises PayloadError, NotConcerned."""
        found = values.find(payload, top)
        name = values.text
        if found is MISSING or found is None:
            raise nothing_read(self._shape, f"{name}: {'missing' if found is MISSING else 'null'}")
        if not isinstance(found, dict | list):
            message = f"{name}: expected a JSON object, not {shown(found)}"
            raise PayloadError("not_an_object", message)
        return found

    def _empty(self) -> Exception:
        names = ", ".join(reader.metric.name for reader in self._metrics)
        problem = f"the payload has none of the metrics: {names}"
        if self._rest is not None:
            problem = "the payload has no values"
        return nothing_read(self._shape, problem, names_field=False)


def _key_of(paths: Sequence[Path]) -> str | None:
    """Return the name of a field at which the only path leads, None if it leads further."""
    first = paths[0] if len(paths) == 1 else None
    if first is None or first.from_top or len(first.keys) > 1:
        return None
    return first.keys[0] if isinstance(first.keys[0], str) else None


def begins_with_index(stream: Stream) -> bool:
    """Return whether a path of the stream begins with an index, as in an array at the top."""
    texts = [path for metric in stream.metrics for path in metric.paths]
    texts += [*stream.device_paths, *stream.timestamp.fields, *stream.shape.only]
    texts += [stream.values] if stream.values else []
    return any(isinstance(Path.of(text).keys[0], int) for text in texts)
