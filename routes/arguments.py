"""What requests may carry: for validation and for the OpenAPI document."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)

from ingest.identity import device_id_fault, nesting_fault, text_fault
from models import MAX_COMMAND_ID, MAX_DEVICE_ID, MAX_TEXT
from queries.readings import Window
from services.commands import Order
from services.feed import Interest
from utils import calendar, clock
from utils.calendar import Span


def _digits(value: object) -> object:
    """A whole number as its digits; where the id of a device is a number in JSON."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _device_id(text: str) -> str:
    if fault := device_id_fault(text):
        raise ValueError(fault)
    return text


def _text(text: str) -> str:
    if fault := text_fault(text):
        raise ValueError(fault)
    return text


def _moment(text: str) -> datetime:
    try:
        return clock.parse_query(text)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected ISO 8601, epoch seconds or milliseconds, or relative such as -24h"
        ) from error


def _parameters(parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(msgspec.json.encode(parameters))
    if size > MAX_PARAMETERS:
        raise ValueError(f"{size} bytes as JSON; at most {MAX_PARAMETERS} are allowed")
    if fault := nesting_fault(parameters):
        raise ValueError(fault)
    return parameters


def _topic(topic: str) -> str:
    if set(topic) & set("+#"):
        raise ValueError("must be a topic without the wildcards + and #")
    return _text(topic)


def _zone(name: str) -> str:
    calendar.zone(name)
    return name


MAX_PARAMETERS = 16_384
MAX_ID = 2**63 - 1
MAX_LIFETIME = 604_800
MAX_SPAN = timedelta(days=3660)
LAST_MOMENT = datetime(9998, 1, 1)
_DEVICE_ID = {"type": "string", "minLength": 1, "maxLength": MAX_DEVICE_ID, "pattern": "^[^+#/]*$"}
_TIME = {"type": "string", "examples": ["2026-01-29T14:30:45Z", "1769697045", "-24h"]}
DeviceId = Annotated[str, BeforeValidator(_digits), AfterValidator(_device_id), WithJsonSchema(_DEVICE_ID)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema(_TIME)]
Zone = Annotated[str, AfterValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Asia/Jakarta"]})]
_TOPIC = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": "^[^+#]*$"}
Topic = Annotated[str, Field(min_length=1), AfterValidator(_topic), WithJsonSchema(_TOPIC)]
Reason = Annotated[str, AfterValidator(_text)]
CommandName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_text)]
Parameters = Annotated[dict[str, JsonValue], AfterValidator(_parameters)]
Lifetime = Annotated[
    int, Field(strict=True, ge=1, le=MAX_LIFETIME, description="Seconds after which the device must not do it.")
]
Key = Annotated[str, Field(min_length=1, max_length=255, pattern="^[!-~]+$")]
Status = Literal["pending", "sent", "in_progress", "succeeded", "failed", "rejected", "expired"]


FIRST_EPOCH = 10**8
"""From this number on `since` may be epoch time, of 1973 or later."""


def _since(text: object) -> int | datetime:
    """A number, which may be an id, or a time. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str):
        raise ValueError("expected the id of a reading, or a time")  # noqa: TRY004 - pydantic wants it
    if re.fullmatch(r"\d{1,20}", text, re.ASCII):
        return int(text)
    try:
        return clock.parse_query(text)
    except ValueError as error:
        expected = "expected the id of a reading, ISO 8601, epoch seconds or milliseconds, or relative such as -1m"
        raise ValueError(f"{error}; {expected}") from error


def position(since: int | datetime | None, newest_id: Callable[[], int]) -> int | datetime | None:
    """What `since` means: a number is an id if there are so many readings, and otherwise an epoch time if it may be."""
    if isinstance(since, int) and since >= FIRST_EPOCH and since > newest_id():
        return clock.from_epoch(since)
    return since


_ID_OR_TIME = {"type": "string", "examples": ["1296", "2026-01-29T14:30:45Z", "1769697045", "-1m"]}
Since = Annotated[int | datetime, BeforeValidator(_since), WithJsonSchema(_ID_OR_TIME)]


def _last_event(text: object) -> int | datetime:
    """An id, however large: a browser sends what it was sent, also by a database that was replaced since."""
    if isinstance(text, str) and re.fullmatch(r"\d+", text, re.ASCII):
        return MAX_ID if len(text) > len(str(MAX_ID)) else min(int(text), MAX_ID)
    return _since(text)


LastEventId = Annotated[int | datetime, BeforeValidator(_last_event), WithJsonSchema(_ID_OR_TIME)]


class Query(BaseModel):
    """Base of all query strings."""

    _schemas: ClassVar[dict[type[BaseModel], dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON schema; kept, because the router asks for it on every request."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        if cls not in Query._schemas:
            Query._schemas[cls] = super().model_json_schema()
        return Query._schemas[cls]


class DeviceQuery(Query):
    """Which device."""

    device_id: DeviceId | None = Field(None, description="Only this device.")


class WindowQuery(DeviceQuery):
    """Which device and which time."""

    start: Moment | None = Field(None, alias="from", description="From this time on (inclusive).")
    end: Moment | None = Field(None, alias="to", description="Before this time (exclusive).")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError("from: must not be after to")
        return self

    def window(self) -> Window:
        """The same for `queries`."""
        return Window(self.device_id, self.start, self.end)


class HistoryQuery(WindowQuery):
    """A page of readings."""

    limit: int = Field(100, ge=1, le=10_000, description="At most this many readings.")
    offset: int = Field(0, ge=0, le=2**53, description="Skip this many of the newest.")


class ReadingsQuery(HistoryQuery):
    """A page of readings of any stream."""

    health: bool = Field(default=False, description="Also the health index of each, where the stream has ideal bands.")


class MlQuery(WindowQuery):
    """A sample of readings."""

    limit: int = Field(1000, ge=1, le=100_000, description="The newest this many samples.")


class SpanQuery(Query):
    """One device and a time with an end, for figures that are computed over it."""

    device_id: DeviceId = Field(description="Which device.")
    start: Moment | None = Field(None, alias="from", description="From this time on; 24 hours before `to` unless said.")
    end: Moment | None = Field(None, alias="to", description="Before this time; now unless said.")
    tz: Zone = Field("UTC", description="The time zone of hours and days, such as Asia/Jakarta.")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        start, end = self.span()
        # A second more, because times such as -3660d were read a moment before.
        if not timedelta(0) < end - start <= MAX_SPAN + timedelta(seconds=1):
            raise ValueError(f"from: must be before to, by {MAX_SPAN.days} days at most")
        if start < clock.EPOCH or end > LAST_MOMENT:
            raise ValueError("from, to: must be within the years 1970 to 9997")
        return self

    def span(self) -> Span:
        """From when until when, in naive UTC."""
        end = self.end or clock.now()
        return Span(self.start or max(end, clock.EPOCH) - timedelta(days=1), end)

    @property
    def place(self) -> ZoneInfo:
        """The time zone."""
        return calendar.zone(self.tz)


class SubmissionQuery(DeviceQuery):
    """What an MQTT topic would have said."""

    device_id: DeviceId | None = Field(None, description="The device, where the payload does not say it.")
    metric: str | None = Field(None, description="The metric, where each has a topic of its own.")


class RejectedQuery(DeviceQuery):
    """A page of rejected messages."""

    reason: Reason | None = Field(None, description="Only this reason code.")
    stream: Reason | None = Field(None, description="Only this stream.")
    limit: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=2**53)


class RejectedPath(BaseModel):
    """Which rejected message."""

    id: int = Field(ge=1, le=2**63 - 1)


class LiveQuery(DeviceQuery):
    """What to send live."""

    since: Since | None = Field(None, description="First what came after this id, or after this time.")


class Subscription(BaseModel):
    """What a Socket.IO client subscribes to."""

    model_config = ConfigDict(extra="forbid")

    stream: str
    device_id: DeviceId | None = None
    since: Since | None = None

    @property
    def interest(self) -> Interest:
        """The same for `services.live`."""
        return Interest(self.stream, self.device_id)


class LastEventHeader(BaseModel):
    """What a browser sends when it connects again."""

    last_event_id: LastEventId | None = Field(
        None, alias="Last-Event-ID", description="As `since`, which it outdoes; every whole number is an id."
    )


class WaitQuery(Query):
    """How long the answer may take."""

    wait: float = Field(0, ge=0, le=60, description="Hold the answer up to this many seconds, until it is final.")


class KeyHeader(BaseModel):
    """What makes a repeated request harmless."""

    key: Key | None = Field(None, alias="Idempotency-Key", description="The same key gives the same command.")


class CommandPath(BaseModel):
    """Which command."""

    command_id: Annotated[str, Field(max_length=MAX_COMMAND_ID), AfterValidator(_text)]


class CommandsQuery(DeviceQuery):
    """Which commands."""

    status: Status | None = Field(None, description="Only in this state.")
    limit: int = Field(100, ge=1, le=1000, description="The newest this many.")


class Body(BaseModel):
    """Base of JSON objects that are sent."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Self:
        """Refuse a body that is a JSON string: the router would read what stands in it as JSON once more."""
        return cls.model_validate(json_data)


class ControlBody(Body):
    """A command for a device."""

    device_id: DeviceId
    command: CommandName
    parameters: Parameters = {}
    expires_in: Lifetime = 60

    def order(self) -> Order:
        """The same for `services.commands`."""
        return Order(self.device_id, self.command, self.parameters, self.expires_in)
