"""SenML, RFC 8428, in JSON: the records of one device and one time are a reading."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from ingest.formats.members import Object, check_count, document_of
from ingest.json_payloads import decode_reading
from ingest.showing import Spelled, shown
from ingest.unpacking import MAX_UNPACKED
from ingest.values import PayloadError, spelled
from streams.payload_shape import SENML_DEVICE, SENML_TIME

MAX_DIGITS = 1_000
"""Characters of a number to which another is added."""
VERSION = 10
"""The version of RFC 8428."""
RELATIVE = 2**28
"""A smaller time is in seconds from now (section 4.5.3)."""
_TEXTS = ("bn", "bu", "n", "u")
_NUMBERS = ("bt", "t", "bv", "bs", "s")
_VALUES = ("v", "vs", "vb", "vd")
# A name without a base name, as in section 5.1.1: RFC 9039 says where the device in it ends.
_URN = re.compile(r"(?P<device>urn:dev:[^:/]+:[^:/]+)[:/]?(?P<metric>.*)")
_SPLIT = re.compile(r"(?:(?P<device>.+)[:/])?(?P<metric>.*)")


class _Key(NamedTuple):
    device: str | None
    time: Decimal


def decode(payload: bytes) -> Any:
    """Return the readings, as objects of values by name. Raises PayloadError.

    A wrong record is an error beside them, unless others depend on it.
    The device is in `bn`, without the separator at its end, and the time in `timestamp`. A time
    relative to now is left out, so that the server's stands in. A record without a name has its
    unit as the name. A sum is under the name with `_sum`. Units are not compared.
    """
    pack = decode_reading(payload, MAX_UNPACKED)
    if not isinstance(pack, list):
        expected = "expected an array of records"
        raise PayloadError("invalid_senml", f"{expected}, not {shown(pack)}")
    check_count(len(pack))
    base: Object = {}
    readings: dict[_Key, list[Object]] = {}
    errors: list[PayloadError] = []
    for index, record in enumerate(pack):
        try:
            _check(record)
            base |= _base_of(record)
            if record.keys().isdisjoint((*_VALUES, "s")):
                continue
            key, values = _resolved(base, record)
            _add(readings.setdefault(key, []), key, values)
        except ValueError as error:
            wrong = PayloadError("invalid_senml", f"record {index}: {error}")
            if isinstance(record, dict) and (_base_of(record) or _extensions(record)):
                raise wrong from error  # what the other records mean depends on it
            errors.append(wrong)
    return document_of([*(one for group in readings.values() for one in group), *errors])


def _base_of(record: Object) -> Object:
    """Return the fields that hold for the records behind it, too."""
    return {name: value for name, value in record.items() if name[0:1] == "b"}


def _extensions(record: Object) -> list[str]:
    """Return the fields that must be understood for the whole pack (section 4.4)."""
    return [name for name in record if name.endswith("_")]


def _check(record: Any) -> None:
    """Check the types of a record. Raises ValueError."""
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, not {shown(record)}")  # noqa: TRY004 - bad input
    for name, value in record.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _TEXTS and not isinstance(value, str):
            raise ValueError(f"{name}: expected a text, not {shown(value)}")
        if name in _NUMBERS and not (is_number and abs(value) < float("inf")):
            raise ValueError(f"{name}: expected a number, not {shown(value)}")
    if extensions := _extensions(record):
        raise ValueError(f"{extensions[0]}: must be understood, and is not")
    version = record.get("bver", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"bver: expected at most {VERSION}, not {shown(version)}")


def _resolved(base: Object, record: Object) -> tuple[_Key, Object]:
    """Return device, time and values of a record. Raises ValueError."""
    device, name = _named(base.get("bn"), record.get("n", ""))
    name = name or record.get("u") or base.get("bu") or "value"
    time = _exact(base.get("bt", 0)) + _exact(record.get("t", 0))
    given = [field for field in _VALUES if field in record]
    if len(given) > 1:
        raise ValueError(f"one value, not {' and '.join(given)}")
    values: Object = {}
    for field in given:
        values[name] = _sum(base, "bv", record, "v") if field == "v" else record[field]
    if "s" in record:
        values[f"{name}_sum"] = _sum(base, "bs", record, "s")
    if taken := {SENML_DEVICE, SENML_TIME} & values.keys():
        raise ValueError(f"n: {taken.pop()} is no name of a metric")
    return _Key(device, time), values


def _named(base: str | None, name: str) -> tuple[str | None, str]:
    """Return the device, if the names have one, and the name of the metric."""
    if base:
        return base[:-1] if base[-1] in ":/." and len(base) > 1 else base, name
    found = _URN.fullmatch(name) or _SPLIT.fullmatch(name)
    return (found["device"], found["metric"]) if found else (None, name)


def _sum(base: Object, base_field: str, record: Object, field: str) -> Any:
    """Return a value with its base added, as it is written if there is none."""
    if base_field not in base:
        return record[field]
    value = record[field]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{field}: expected a number, not {shown(value)}")  # noqa: TRY004 - bad input
    return _number(_exact(base[base_field]) + _exact(value))


def _exact(number: float) -> Decimal:
    written = spelled(number)
    if len(written) > MAX_DIGITS:
        raise ValueError(f"a number has {len(written)} characters; at most {MAX_DIGITS} are read")
    try:
        return Decimal(written)
    except ArithmeticError as error:
        raise ValueError(f"an exponent is too small: {shown(number)}") from error


def _number(exact: Decimal) -> int | Spelled:
    is_whole = exact == exact.to_integral_value() and abs(exact) < 10**18
    return int(exact) if is_whole else Spelled(str(exact))


def _add(group: list[Object], key: _Key, values: Object) -> None:
    """Add values to the reading of their device and time; a second value begins another one."""
    if not group or values.keys() & group[-1].keys():
        group.append({} if key.device is None else {SENML_DEVICE: key.device})
        if key.time >= RELATIVE:
            group[-1][SENML_TIME] = _number(key.time)
    group[-1] |= values
