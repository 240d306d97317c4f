"""Entries of the publisher's file: what each must be, every fault of one told, and what is published of it; pure."""

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import ErrorDetails

from utils.text import invisible, nested_deeper, printable

MAX_ID = 128
MAX_TOPIC = 65_535
"""Bytes."""
MAX_LEVELS = 200
"""Mosquitto closes the connection of whoever publishes on a topic with more."""
MAX_PAYLOAD = 1_000_000
"""Bytes."""
MAX_WILL = 65_535
"""Bytes; MQTT has two bytes for the length of a will."""
MAX_DEPTH = 32
SHORTEST, LONGEST = 0.001, 31_536_000
"""Seconds."""
MAX_VERSION = 2**53 - 1
"""The largest whole number that every reader of JSON holds."""
_SHOWN = 60

_ID = f"must be text of 1 to {MAX_ID} printable characters without + # /, no white space at its ends, not . or .."
_TOPIC = (
    f"must be printable text of 1 to {MAX_TOPIC} bytes and at most {MAX_LEVELS} levels, "
    "without + and #, not beginning with $"
)
_DATA = (
    f"must be a JSON object, nested at most {MAX_DEPTH} deep, "
    "without numbers out of range such as 1e999 and lone surrogates such as \\ud800"
)
_INTERVAL = f"must be a number of seconds from {SHORTEST} to {LONGEST}"
_QOS = "must be 0, 1 or 2"
_SWITCH = "must be true or false"
_TIME = "must be a time as text, such as 2025-09-29T16:27:50.000000, or null"
_VERSION = f"must be a whole number from 1 to {MAX_VERSION}"


_Finding = tuple[str, str | None, str]
"""The field, value and allowed of a fault."""


class Fault(NamedTuple):
    """What is wrong with an entry, and what is allowed."""

    index: int | None  # type: ignore[assignment]  # hides the method of tuples, which says nothing about a fault
    """Its place in the file's array, from 0; None where there is no array."""
    id: str | None
    field: str | None
    """None for the entry as a whole."""
    value: str | None
    """What stands there, shortened and printable; None where it is missing."""
    allowed: str

    def __str__(self) -> str:
        name = "" if self.id is None else f' (id "{self.id}")'
        entry = "the entry" if self.index is None else f"entry {self.index}{name}"
        if self.field is None:
            return f"{entry} = {self.value}: {self.allowed}"
        stands = "is missing" if self.value is None else f"= {self.value}"
        where = "" if self.index is None else f"{entry}: "
        return f"{where}{self.field} {stands}: {self.allowed}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands in an entry, or for a whole one, where the file has what no value can hold."""

    text: str
    allowed: str | None = None
    """What is allowed instead; None for what is allowed in this place anyway."""


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """A valid entry, as far as the publisher needs it: equal where nothing that is published has changed."""

    id: str
    topic: str
    interval: float
    """Seconds."""
    qos: Literal[0, 1, 2]
    retain: bool
    lwt: bool
    payload: bytes
    offline: bytes
    """The will; empty without one."""


def _rule(allowed: str, holds: Callable[[Any], bool] | None = None) -> WrapValidator:
    """Demands more of a field than its type, and gives all its faults the same sentence."""

    def checked(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        with contextlib.suppress(ValidationError):
            valid = inner(value)
            if holds is None or holds(valid):
                return valid
        raise ValueError(allowed)

    return WrapValidator(checked)


def _is_id(text: str) -> bool:
    return not (set(text) & set("+#/") or text in (".", "..") or text != text.strip() or invisible(text))


def _is_topic(text: str) -> bool:
    if set(text) & set("+#") or text.startswith("$") or invisible(text) or any(map(_is_noncharacter, text)):
        return False
    return len(text.encode()) <= MAX_TOPIC and text.count("/") < MAX_LEVELS


def _is_noncharacter(character: str) -> bool:
    # Mosquitto closes the connection of whoever sends one in a topic.
    code = ord(character)
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def _is_data(data: dict[str, Any]) -> bool:
    if nested_deeper(data, MAX_DEPTH):
        return False
    try:
        _json(data)
    except (TypeError, ValueError):
        return False
    return True


def _whole(number: object) -> object:
    # To Literal true is 1, and so is 1.0.
    if type(number) is not int:
        raise ValueError(_QOS)
    return number


def _is_time(text: str | None) -> bool:
    try:
        return text is None or bool(datetime.fromisoformat(text))
    except ValueError:
        return False


EntryId = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_ID, description=_ID), _rule(_ID, _is_id)]
EntryTopic = Annotated[
    str, Field(strict=True, min_length=1, max_length=MAX_TOPIC, description=_TOPIC), _rule(_TOPIC, _is_topic)
]
Data = Annotated[dict[str, Any], Field(strict=True, description=_DATA), _rule(_DATA, _is_data)]
Interval = Annotated[
    float, Field(strict=True, ge=SHORTEST, le=LONGEST, allow_inf_nan=False, description=_INTERVAL), _rule(_INTERVAL)
]
Qos = Annotated[Literal[0, 1, 2], Field(description=_QOS), BeforeValidator(_whole), _rule(_QOS)]
Switch = Annotated[bool, Field(strict=True, description=_SWITCH), _rule(_SWITCH)]
Time = Annotated[str | None, Field(strict=True, description=_TIME), _rule(_TIME, _is_time)]
Version = Annotated[int, Field(strict=True, ge=1, le=MAX_VERSION, description=_VERSION), _rule(_VERSION)]


class Entry(BaseModel):
    """What is published on a topic, how often and how."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: EntryId
    topic: EntryTopic
    data: Data
    interval: Interval
    qos: Qos = 1
    retain: Switch = False
    lwt: Switch = False
    created_at: Time = None
    updated_at: Time = None
    version: Version = 1


FIELDS = tuple(Entry.model_fields)
_WHOLE = "must be a JSON object with id, topic, data and interval"
_UNKNOWN = f"there is no such field; there are {', '.join(FIELDS)}"


def read(entries: Iterable[object]) -> tuple[list[PublishConfig], list[Fault]]:
    """The valid ones of a file's entries, and every fault of the others. Of two with the same id the first counts."""
    configs: list[PublishConfig] = []
    faults: list[Fault] = []
    places: dict[str, int] = {}
    for index, entry in enumerate(entries):
        config, found = check(entry, index)
        if not any(fault.field in ("id", None) for fault in found):
            found += _not_unique(entry, index, places)
        faults += found
        if config is not None and not found:
            configs.append(config)
    return configs, faults


def check(entry: object, index: int | None = None) -> tuple[PublishConfig | None, list[Fault]]:
    """What is published of one entry, or None and every fault; `index` is its place in an array."""
    if not isinstance(entry, dict):
        allowed = entry.allowed if isinstance(entry, Unusable) else None
        return None, [Fault(index, None, None, _shown(entry), allowed or _WHOLE)]
    config, findings = _judged(entry)
    return config, [Fault(index, _name(entry), *finding) for finding in findings]


def _judged(entry: dict[Any, Any]) -> tuple[PublishConfig | None, list[_Finding]]:
    # Of a key that is a lone surrogate pydantic tells neither the name nor any other fault.
    known = {name: value for name, value in entry.items() if name in FIELDS}
    findings: list[_Finding] = [(_field_name(n), _shown(entry[n]), _UNKNOWN) for n in entry if n not in FIELDS]
    try:
        valid = Entry.model_validate(known)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        findings = [_finding(known, part) for part in told] + findings
        if not any(field == "data" for field, _, _ in findings):
            findings += _too_large(known["data"], *_published(known["data"], online=known.get("lwt") is True))
        return None, findings
    payload, offline = _published(valid.data, online=valid.lwt)
    if findings := findings + _too_large(valid.data, payload, offline):
        return None, findings
    own = valid.id, valid.topic, valid.interval, valid.qos, valid.retain, valid.lwt
    return PublishConfig(*own, payload, offline), []


def _finding(known: dict[str, Any], told: ErrorDetails) -> _Finding:
    field = str(told["loc"][0])
    if field not in known:
        return field, None, str(Entry.model_fields[field].description)
    value = known[field]
    allowed = value.allowed if isinstance(value, Unusable) else None
    return field, _shown(value), allowed or told["msg"].removeprefix("Value error, ")


def _field_name(name: object) -> str:
    return _shortened(name) if isinstance(name, str) and name.isidentifier() else _shown(name)


def _published(data: dict[str, Any], *, online: bool) -> tuple[bytes, bytes]:
    """The payload, and the one that says that the publisher is offline, empty where nothing says that it is online."""
    if not online:
        return _json(data), b""
    # A will that repeated what the data itself says as `online` would say nothing.
    return _json({"online": 1} | data), _json({"online": 1} | data | {"online": 0})


def _too_large(data: object, payload: bytes, offline: bytes) -> list[_Finding]:
    sizes = []
    if len(payload) > MAX_PAYLOAD:
        sizes.append(f"must be at most {MAX_PAYLOAD} bytes as JSON; it has {len(payload)}")
    if len(offline) > MAX_WILL:
        sizes.append(f"must be at most {MAX_WILL} bytes as JSON, as a last will; with online it has {len(offline)}")
    return [("data", _shown(data), allowed) for allowed in sizes]


def _not_unique(entry: Any, index: int, places: dict[str, int]) -> list[Fault]:
    first = places.setdefault(entry["id"], index)
    if first == index:
        return []
    allowed = f"must be unique in the file, and entry {first} has it already"
    return [Fault(index, _name(entry), "id", _shown(entry["id"]), allowed)]


def _name(entry: dict[Any, Any]) -> str | None:
    name = entry.get("id")
    return _shortened(name, MAX_ID) if isinstance(name, str) else None


def _shown(value: object) -> str:
    if isinstance(value, Unusable):
        return _shortened(value.text)
    try:
        return _shortened(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown"


def _shortened(text: str, length: int = _SHOWN) -> str:
    shown = printable(text[: length + 1])
    return shown if len(shown) <= length else f"{shown[:length]}…"


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()
