"""Entries of the publisher's file: their validation, all errors, and what they publish."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from utils import exact_numbers
from utils.mqtt_text import MOST_LEVELS
from utils.text import invisible, nested_deeper, printable

MAX_ID = 128
MAX_TOPIC = 65_535  # bytes
MAX_PAYLOAD = 1_000_000  # bytes
MAX_WILL = 65_535  # bytes; MQTT has two bytes for the length of a will
MAX_DEPTH = 32
SHORTEST, LONGEST = 0.001, 31_536_000  # seconds
MAX_VERSION = 2**53 - 1  # the largest whole number that every reader of JSON holds
MAX_NUMBERS = 5  # that an entry names as altered; its data may have 100,000
_SHOWN = 60
_ID = (
    f"must be text of 1 to {MAX_ID} printable characters without + # /, "
    "without leading or trailing white space, not . or .."
)
_TOPIC = (
    f"must be printable text of 1 to {MAX_TOPIC} bytes and at most {MOST_LEVELS} levels, "
    "without + and #, not beginning with $"
)
_DATA = (
    f"must be a JSON object, nested at most {MAX_DEPTH} deep, without duplicate keys, "
    "numbers out of range such as 1e999 and lone surrogates such as \\ud800"
)
_INTERVAL = f"must be a number of seconds from {SHORTEST} to {LONGEST}"
_QOS = "must be 0, 1 or 2"
_SWITCH = "must be true or false"
_TIME = "must be a time as text, such as 2025-09-29T16:27:50.000000, or null"
_VERSION = f"must be a whole number from 1 to {MAX_VERSION}"


class Repeated(dict[str, Any]):
    """A JSON object with duplicate keys; it has the last value of each."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.names = [name for name, count in counts.items() if count > 1]


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """A valid entry; entries that publish the same are equal."""

    id: str
    topic: str
    interval: float  # seconds
    qos: int
    retain: bool
    lwt: bool
    payload: bytes
    offline: bytes  # the will; empty without one


def _that(holds: Callable[[Any], bool]) -> AfterValidator:
    def checked(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return AfterValidator(checked)


def _is_id(text: str) -> bool:
    wrong = set(text) & set("+#/") or text in (".", "..") or text != text.strip()
    return not (wrong or invisible(text))


def _is_topic(text: str) -> bool:
    if set(text) & set("+#") or text.startswith("$") or invisible(text):
        return False
    return len(text.encode()) <= MAX_TOPIC and text.count("/") < MOST_LEVELS


def _is_data(data: dict[str, Any]) -> bool:
    if nested_deeper(data, MAX_DEPTH) or _repeats(data):
        return False
    try:
        return bool(_json(data))
    except (TypeError, ValueError):
        return False


def _repeats(value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(value, Repeated) or any(map(_repeats, value.values()))
    return isinstance(value, list) and any(map(_repeats, value))


def _is_time(text: str | None) -> bool:
    try:
        return text is None or bool(datetime.fromisoformat(text))
    except ValueError:
        return False


class Entry(BaseModel):
    """What is published on a topic, how often and how."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID, description=_ID), _that(_is_id)]
    topic: Annotated[
        str, Field(min_length=1, max_length=MAX_TOPIC, description=_TOPIC), _that(_is_topic)
    ]
    data: Annotated[dict[str, Any], Field(description=_DATA)]
    interval: Annotated[
        float, Field(ge=SHORTEST, le=LONGEST, allow_inf_nan=False, description=_INTERVAL)
    ]
    qos: Annotated[int, Field(ge=0, le=2, description=_QOS)] = 1
    retain: Annotated[bool, Field(description=_SWITCH)] = False
    lwt: Annotated[bool, Field(description=_SWITCH)] = False
    created_at: Annotated[str | None, Field(description=_TIME), _that(_is_time)] = None
    updated_at: Annotated[str | None, Field(description=_TIME), _that(_is_time)] = None
    version: Annotated[int, Field(ge=1, le=MAX_VERSION, description=_VERSION)] = 1


FIELDS = tuple(Entry.model_fields)
_WHOLE = "must be a JSON object with id, topic, data and interval"
_UNKNOWN = f"unknown field; allowed are {', '.join(FIELDS)}"
_TWICE = "must appear only once in an entry"


def read(entries: Iterable[object]) -> tuple[list[PublishConfig], list[str]]:
    """Return the valid entries, the first of each id, and all errors of the others."""
    configs: list[PublishConfig] = []
    faults: list[str] = []
    ids: dict[str, int] = {}
    for index, entry in enumerate(entries):
        config, found = check(entry)
        name = entry.get("id") if isinstance(entry, dict) else None
        where = f"entry {index}"
        if isinstance(name, str):
            where += f' (id "{_shortened(name, MAX_ID)}")'
            first = ids.setdefault(name, index)
            if first != index:
                allowed = f"must be unique in the file, but entry {first} has it already"
                found.append(f"id = {_shown(name)}: {allowed}")
        faults += [f"{where}: {fault}" for fault in found]
        if config is not None and not found:
            configs.append(config)
    return configs, faults


def check(entry: object) -> tuple[PublishConfig | None, list[str]]:
    """Return what an entry publishes, or None, and all its errors."""
    if not isinstance(entry, dict):
        return None, [f"{_shown(entry)}: {_WHOLE}"]
    wrong, valid = _validated(entry)
    if isinstance(entry, Repeated):
        wrong |= dict.fromkeys((name for name in entry.names if name in FIELDS), _TWICE)
    wrong |= dict.fromkeys((name for name in entry if name not in FIELDS), _UNKNOWN)
    faults = [_fault(entry, name, allowed) for name, allowed in wrong.items()]
    faults += islice(exact_numbers.faults(entry.get("data"), "data"), MAX_NUMBERS)
    if "data" in wrong:
        return None, faults
    payload, offline = _published(entry["data"], lwt=entry.get("lwt") is True)
    faults += [_fault(entry, "data", allowed) for allowed in _too_large(payload, offline)]
    if faults or valid is None:
        return None, faults
    own = valid.id, valid.topic, valid.interval, valid.qos, valid.retain, valid.lwt
    return PublishConfig(*own, payload, offline), []


def _validated(entry: dict[Any, Any]) -> tuple[dict[Any, str], Entry | None]:
    """Return what is allowed for each invalid known field, and the entry if all are valid."""
    known = {name: value for name, value in entry.items() if name in FIELDS}
    wrong: dict[Any, str] = {}
    valid = None
    try:
        valid = Entry.model_validate(known)
    except ValidationError as error:
        names = [str(part["loc"][0]) for part in error.errors(include_url=False)]
        wrong = {name: str(Entry.model_fields[name].description) for name in names}
    # Checked separately: pydantic's copy does not show duplicate keys.
    if "data" in known and "data" not in wrong and not _is_data(known["data"]):
        wrong["data"] = _DATA
    return wrong, valid


def _fault(entry: dict[Any, Any], name: object, allowed: str) -> str:
    plain = isinstance(name, str) and name.isidentifier()
    field = _shortened(str(name)) if plain else _shown(name)
    value = f"= {_shown(entry[name])}" if name in entry else "is missing"
    return f"{field} {value}: {allowed}"


def _published(data: dict[str, Any], *, lwt: bool) -> tuple[bytes, bytes]:
    """Return the payload, and the will, which is empty without `lwt`."""
    if not lwt:
        return _json(data), b""
    online = {"online": 1} | data
    # The will sets `online` to 0, even if the data has a value for it.
    return _json(online), _json(online | {"online": 0})


def _too_large(payload: bytes, offline: bytes) -> list[str]:
    found = []
    if len(payload) > MAX_PAYLOAD:
        found.append(f"must be at most {MAX_PAYLOAD} bytes as JSON; it has {len(payload)}")
    if len(offline) > MAX_WILL:
        size = f"with online it has {len(offline)}"
        found.append(f"must be at most {MAX_WILL} bytes as JSON, as a last will; {size}")
    return found


def _shown(value: object) -> str:
    if isinstance(value, exact_numbers.Inexact):
        return value.spelling
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
