"""Types of values in requests, with their validation and their JSON schemas."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema

from utils import calendar, clock, query_times
from utils.identity import MAX_DEVICE_ID, MAX_TEXT, device_id_fault, nesting_fault, text_fault


def _digits(value: object) -> object:
    """Return a whole number as digits, for ids of devices that are numbers in JSON."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _whole(value: object) -> object:
    """Return a number without a fraction, such as 60.0 in JSON, as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain_digits(value: object) -> object:
    """Refuse what pydantic reads as a whole number too, such as `1_0`, `+1` or `1.0`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value):
        raise ValueError("should be a whole number, in the digits 0 to 9 only, such as 100")
    return value


def _plain_decimal(value: object) -> object:
    """Refuse what pydantic reads as a number too, such as `1_0`, `+1`, `1e1` or `inf`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        raise ValueError(
            "should be a number, in the digits 0 to 9 and at most one point, such as 2.5"
        )
    return value


def _device_id(text: str) -> str:
    if error := device_id_fault(text):
        raise ValueError(error)
    return text


def checked_text(text: str) -> str:
    """Return a text that can be stored and shown. Raises ValueError."""
    if error := text_fault(text):
        raise ValueError(error)
    return text


def _timestamp(text: str) -> datetime:
    try:
        return query_times.parse(text)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected a day or a time in ISO 8601, "
            "epoch seconds or milliseconds, or relative such as -24h"
        ) from error


def _parameters(parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(msgspec.json.encode(parameters))
    if size > MAX_PARAMETERS:
        raise ValueError(f"{size} bytes as JSON; at most {MAX_PARAMETERS} are allowed")
    if error := nesting_fault(parameters):
        raise ValueError(error)
    return parameters


def _topic(topic: str) -> str:
    if set(topic) & set("+#"):
        raise ValueError("must be a topic without the wildcards + and #")
    return checked_text(topic)


def _zone(name: str) -> str:
    calendar.zone(name)
    return name


Whole = Annotated[int, BeforeValidator(_plain_digits)]
"""A whole number of a query string."""
Decimal = Annotated[float, BeforeValidator(_plain_decimal)]
"""A number of a query string."""
MAX_PARAMETERS = 16_384
MAX_LIFETIME = 604_800
# What `utils.text.invisible` finds, of the 65,536 characters that every dialect of patterns knows.
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"
    r"\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
)
# What is seen only behind a visible character, and what only between two.
_SELECTORS = r"\u180b-\u180d\u180f\ufe00-\ufe0f"
_JOINERS = r"\u200c\u200d\u2800"
_DEVICE_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_DEVICE_ID,
    # Not . or .., no white space at the ends, no separators of topic levels, nothing invisible.
    "pattern": rf"^(?!\.{{1,2}}$)(?![\s{_SELECTORS}{_JOINERS}])"
    rf"[^+#/{_UNSEEN}]*[^\s+#/{_UNSEEN}{_JOINERS}]$",
    "examples": ["ESP32_001"],
}
_SPELLINGS = [
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "date"},
    {"type": "string", "pattern": r"^(now|-[0-9]{1,4}[smhdw])$"},
]
_EPOCH = {"type": "string", "pattern": r"^[0-9]{9,13}(\.[0-9]{1,6})?$"}
_TIME = {"anyOf": [*_SPELLINGS, _EPOCH], "examples": ["-24h", "2026-01-29T14:30:45Z", "1769697045"]}
DeviceId = Annotated[
    str, BeforeValidator(_digits), AfterValidator(_device_id), WithJsonSchema(_DEVICE_ID)
]
QueryTime = Annotated[datetime, BeforeValidator(_timestamp), WithJsonSchema(_TIME)]
_ZONE = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+/-]*$", "examples": ["Asia/Jakarta"]}
Zone = Annotated[str, AfterValidator(_zone), WithJsonSchema(_ZONE)]
_TOPIC = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TEXT,
    "pattern": rf"^[^+#{_UNSEEN}]*$",
    "examples": ["panel/trafo1/volt"],
}
Topic = Annotated[str, Field(min_length=1), AfterValidator(_topic), WithJsonSchema(_TOPIC)]
_VISIBLE = rf"^[^{_UNSEEN}]*$"
Reason = Annotated[
    str,
    AfterValidator(checked_text),
    WithJsonSchema({"type": "string", "pattern": _VISIBLE, "examples": ["not_a_number"]}),
]
_COMMAND = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "pattern": _VISIBLE,
    "examples": ["set_interval"],
}
CommandName = Annotated[
    str, Field(min_length=1, max_length=64), AfterValidator(checked_text), WithJsonSchema(_COMMAND)
]
Parameters = Annotated[dict[str, JsonValue], AfterValidator(_parameters)]
Lifetime = Annotated[
    int,
    BeforeValidator(_whole),
    Field(
        strict=True,
        ge=1,
        le=MAX_LIFETIME,
        description="Seconds after which the device must not execute it.",
    ),
]
Key = Annotated[str, Field(min_length=1, max_length=255, pattern="^[!-~]+$", examples=["slower-1"])]
Status = Literal["pending", "sent", "in_progress", "succeeded", "failed", "rejected", "expired"]
FIRST_EPOCH = 10**8
"""From this number on `since` may be an epoch time (1973 or later) or a compact time."""
MAX_ID = 2**63 - 1


def _since(text: object) -> int | datetime:
    """Parse a number, which may be an id, or a time. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str):
        expected = "expected the id of a reading, or a time"
        raise ValueError(expected)  # noqa: TRY004 - pydantic wants it
    if re.fullmatch(r"\d{1,20}", text, re.ASCII):
        if int(text) > MAX_ID:
            raise ValueError(f"{text} is larger than any id, and not an epoch time")
        clock.parse(text)  # raises ValueError for an invalid compact time
        return int(text)
    try:
        return query_times.parse(text)
    except ValueError as error:
        expected = "the id of a reading, a day or a time in ISO 8601, epoch seconds or milliseconds"
        raise ValueError(f"{error}; expected {expected}, or relative such as -1m") from error


def position(since: int | datetime | None, newest_id: Callable[[], int]) -> int | datetime | None:
    """Interpret `since`: a number above the newest id is a time if it can be one."""
    if isinstance(since, int) and _may_be_time(since) and since > newest_id():
        return clock.parse(str(since))
    return since


def _may_be_time(number: int) -> bool:
    return number >= FIRST_EPOCH or clock.is_date(str(number))


_ID = {"type": "string", "pattern": "^[0-9]{1,18}$"}
_ID_OR_TIME = {
    "anyOf": [_ID, *_SPELLINGS],
    "examples": ["-1m", "1296", "2026-01-29T14:30:45Z", "1769697045"],
}
Since = Annotated[int | datetime, BeforeValidator(_since), WithJsonSchema(_ID_OR_TIME)]


def _last_event(text: object) -> int | datetime:
    """Parse an id of any size, because browsers repeat ids of a database replaced since."""
    if isinstance(text, str) and re.fullmatch(r"\d+", text, re.ASCII):
        return MAX_ID if len(text) > len(str(MAX_ID)) else min(int(text), MAX_ID)
    return _since(text)


LastEventId = Annotated[int | datetime, BeforeValidator(_last_event), WithJsonSchema(_ID_OR_TIME)]
