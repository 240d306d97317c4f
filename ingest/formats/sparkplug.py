"""Eclipse Sparkplug B 3.0: the metrics of a payload, by name and time; pure.

https://sparkplug.eclipse.org/specification/version/3.0/documents/sparkplug-specification-3.0.0.pdf
https://github.com/eclipse/tahu/blob/master/sparkplug_b/sparkplug_b.proto
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ingest.formats.members import Object, document_of
from ingest.formats.protobuf import FIXED32, FIXED64, LENGTH, VARINT, Budget, WireError, fields
from ingest.formats.trees import NoJson, plain
from ingest.json_payloads import MAX_READINGS, check_size
from ingest.showing import shortened
from ingest.unpacking import MAX_UNPACKED, inflated
from ingest.values import PayloadError
from utils import clock


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        message = f"a text has bytes that are not valid UTF-8: {error.reason}"
        raise PayloadError("invalid_utf8", message) from error


TIME = "timestamp"
"""The field of a reading with its time; no metric can have this name."""
MAX_NAME = 500
"""Characters of the name of a metric."""
_MAX_FIELDS = 60_000
"""Fields of a payload and its metrics; more take too long to read."""
_COMPRESSED = "SPBV1.0_COMPRESSED"
"""The `uuid` of a payload whose `body` is the payload, compressed."""
_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
"""The data types Int8 to Int64, which are sent as two's complement."""
_FIRST_CLEAR = 10**12
"""The first time in milliseconds, of 2001, that is taken for nothing else."""
# Payload
_SENT, _METRIC, _UUID, _BODY = 1, 2, 4, 5
# Payload.Metric
_NAME, _ALIAS, _MEASURED, _DATATYPE, _IS_NULL, _INT, _LONG = 1, 2, 3, 4, 7, 10, 11
_WIDTHS = {_INT: 32, _LONG: 64}
_SCALARS: dict[int, Callable[[Any], Any]] = {
    12: lambda raw: struct.unpack("<f", raw)[0],
    13: lambda raw: struct.unpack("<d", raw)[0],
    14: bool,
    15: _text,
    16: bytes,
}
"""How values other than integers are read: float, double, boolean, string and bytes."""
_OTHERS = (17, 18, 19)
"""DataSet, Template and extensions, which are no values."""
_VALUES = (*_WIDTHS, *_SCALARS, *_OTHERS)
_WIRES = {
    **dict.fromkeys((_ALIAS, _MEASURED, _DATATYPE, _IS_NULL, _INT, _LONG, 14), VARINT),
    **dict.fromkeys((_NAME, 15, 16, *_OTHERS), LENGTH),
    12: FIXED32,
    13: FIXED64,
}


class SparkplugMetric(NamedTuple):
    """A metric, as it was sent."""

    name: str
    """Empty if it has only an alias."""
    alias: int | None
    time: int
    """In milliseconds; 0 if the metric has none of its own."""
    datatype: int
    """The number of its data type; 0 if it is that of the birth certificate."""
    value: Any
    """None if there is none; an integer is unsigned."""
    width: int
    """The bits of the field with an integer; 0 if it is none."""


class SparkplugPayload(NamedTuple):
    """A payload."""

    time: int
    metrics: Sequence[SparkplugMetric]
    errors: Sequence[PayloadError] = ()
    """Those of the metrics that cannot be read."""


class Certificate(NamedTuple):
    """What the birth certificate of a node or device says of its metrics."""

    types: Mapping[str, int] = MappingProxyType({})
    """The data types by name."""
    names: Mapping[int, str] = MappingProxyType({})
    """The names by alias."""

    @classmethod
    def of(cls, payload: SparkplugPayload) -> "Certificate":
        """Return the certificate that a payload is."""
        named = [metric for metric in payload.metrics if metric.name]
        aliases = {metric.alias: metric.name for metric in named if metric.alias is not None}
        return cls({metric.name: metric.datatype for metric in named}, aliases)


NO_CERTIFICATE = Certificate()


def decode(payload: bytes) -> Any:
    """Return the readings of a payload without a birth certificate. Raises PayloadError."""
    return document(read(payload), NO_CERTIFICATE)


def read(payload: bytes) -> SparkplugPayload:
    """Return the time and the metrics of a payload. Raises PayloadError."""
    check_size(payload, MAX_UNPACKED)
    budget = Budget(_MAX_FIELDS)
    try:
        found, metrics = _fields_of(payload, budget)
        if found.get(_UUID) == _COMPRESSED.encode() and _BODY in found:
            found, metrics = _fields_of(inflated(found[_BODY]), budget)
        read_metrics = [_tried(index, one, budget) for index, one in enumerate(metrics)]
        good = [one for one in read_metrics if isinstance(one, SparkplugMetric)]
        errors = [one for one in read_metrics if isinstance(one, PayloadError)]
        return SparkplugPayload(found.get(_SENT, 0), good, errors)
    except WireError as error:
        raise PayloadError("invalid_sparkplug", str(error)) from error


def _fields_of(payload: bytes, budget: Budget) -> tuple[dict[int, Any], list[bytes]]:
    """Return the fields of a payload, and its metrics. Raises WireError, PayloadError."""
    found: dict[int, Any] = {}
    metrics: list[bytes] = []
    for number, wire, value in fields(payload, budget):
        if number == _METRIC and wire == LENGTH:
            metrics.append(value)
            if len(metrics) > MAX_READINGS:
                message = f"more metrics than {MAX_READINGS}, which are allowed"
                raise PayloadError("too_large", message)
        elif wire == (VARINT if number == _SENT else LENGTH):
            found[number] = value
    return found, metrics


def _tried(index: int, message: bytes, budget: Budget) -> SparkplugMetric | PayloadError:
    """Return a metric, or why it cannot be read. Raises WireError if the budget is used up."""
    try:
        return _metric(message, budget)
    except WireError as error:
        if budget.left < 0:
            raise
        return PayloadError("invalid_sparkplug", f"metric {index}: {error}")
    except PayloadError as error:
        return PayloadError(error.reason, f"metric {index}: {error}")


def _metric(message: bytes, budget: Budget) -> SparkplugMetric:
    """Return a metric. Raises WireError, PayloadError."""
    found: dict[int, Any] = {}
    field = 0
    for number, wire, value in fields(message, budget):
        if _WIRES.get(number) == wire:
            found[number] = value
            # Of several values, the last one counts.
            field = number if number in _VALUES else field
    field = 0 if found.get(_IS_NULL) else field
    value, width = found.get(field), _WIDTHS.get(field, 0)
    if width:
        value &= 2**width - 1
    else:
        value = plain(_SCALARS[field](value), _special) if field in _SCALARS else None
    name, alias, time = _name(found.get(_NAME, b"")), found.get(_ALIAS), found.get(_MEASURED, 0)
    return SparkplugMetric(name, alias, time, found.get(_DATATYPE, 0), value, width)


def _name(raw: bytes) -> str:
    name: str = plain(_text(raw), _special)
    if len(name) > MAX_NAME:
        text = f"a name has {len(name)} characters; at most {MAX_NAME} are allowed"
        raise PayloadError("invalid_sparkplug", text)
    return name


def _special(value: Any) -> Any:
    raise NoJson(f"a value of the type {type(value).__name__}")


def document(payload: SparkplugPayload, certificate: Certificate) -> Any:
    """Return the readings, as objects of values by the names of metrics. Raises PayloadError.

    The metrics of one time are a reading. One whose name or data type neither the payload nor the
    certificate says is left out, and an error beside the readings names it.
    """
    readings: dict[int, list[Object]] = {}
    unknown: list[str] = []
    errors = [*payload.errors]
    for metric in payload.metrics:
        name = metric.name or certificate.names.get(-1 if metric.alias is None else metric.alias)
        datatype = metric.datatype or certificate.types.get(name or "", 0)
        if not name or (metric.width and not datatype):
            unknown.append(_shown(metric, name))
        elif name == TIME:
            text = f"a metric cannot have the name {TIME}, where the time is"
            errors.append(PayloadError("invalid_sparkplug", text))
        else:
            value = _signed(metric.value, datatype, metric.width) if metric.width else metric.value
            time = metric.time or payload.time
            _add(readings.setdefault(time, []), time, name, value)
    if not payload.metrics and not errors:
        _add(readings.setdefault(payload.time, []), payload.time)
    if unknown:
        errors.append(_without_birth(unknown))
    return document_of([*(one for group in readings.values() for one in group), *errors])


def _add(group: list[Object], time: int, name: str = "", value: Any = None) -> None:
    """Add a metric to the reading of its time; a second value of it begins another reading."""
    if not group or name in group[-1]:
        group.append({TIME: _unmistakable(time)} if time else {})
    if name:
        group[-1][name] = value


def _unmistakable(time: int) -> int | str:
    """Return a time in milliseconds, as a text if its number could be taken for seconds."""
    return time if time >= _FIRST_CLEAR else clock.rfc3339(clock.from_epoch(time, 1000))


def _signed(value: int, datatype: int, width: int) -> int:
    """Return an integer with its sign; a short one may have been extended to the whole field."""
    bits = _BITS.get(datatype)
    if bits is None or bits > width:
        return value
    if value >= 1 << width - 1:
        return value - (1 << width)
    return value - (1 << bits) if 1 << bits - 1 <= value < 1 << bits else value


def _shown(metric: SparkplugMetric, name: str | None) -> str:
    if name:
        return f"the data type of {shortened(name)}"
    if metric.alias is not None:
        return f"the name of the alias {metric.alias}"
    return "the name of a metric without an alias"


def _without_birth(unknown: Sequence[str]) -> PayloadError:
    more = f", nor {len(unknown) - 1} more" if len(unknown) > 1 else ""
    text = f"no birth certificate that was received says {unknown[0]}{more}"
    return PayloadError("no_birth_certificate", text, names_field=False)
