"""What requests may carry: for validation and for the OpenAPI document."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from models import MAX_COMMAND_ID
from queries.readings import TimeFilter
from routes.fields import (
    CommandName,
    DeviceId,
    Key,
    LastEventId,
    Lifetime,
    Moment,
    Parameters,
    Reason,
    Since,
    Status,
    Zone,
    checked_text,
)
from routes.schemas import Described
from services.commands import Order
from services.feed import Interest
from utils import calendar, clock
from utils.calendar import Span

MAX_SPAN = timedelta(days=3660)
LAST_MOMENT = datetime(9998, 1, 1)


class Query(Described):
    """Base of all query strings."""


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

    def filter(self) -> TimeFilter:
        """The same for `queries`."""
        return TimeFilter(self.device_id, self.start, self.end)


class HistoryQuery(WindowQuery):
    """A page of readings."""

    limit: int = Field(
        100, ge=1, le=10_000, description="At most this many readings.", examples=[100]
    )
    offset: int = Field(
        0, ge=0, le=2**53, description="Skip this many of the newest.", examples=[0]
    )


class ReadingsQuery(HistoryQuery):
    """A page of readings of any stream."""

    health: bool = Field(
        default=False,
        description="Also the health index of each, where the stream has ideal bands.",
        examples=[False],
    )


class MlQuery(WindowQuery):
    """A sample of readings."""

    limit: int = Field(
        1000, ge=1, le=100_000, description="The newest this many samples.", examples=[1000]
    )


class SpanQuery(Query):
    """One device and a time with an end, for figures that are computed over it."""

    device_id: DeviceId = Field(description="Which device.")
    start: Moment | None = Field(
        None, alias="from", description="From this time on; 24 hours before `to` unless said."
    )
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
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return calendar.zone(self.tz)


class SubmissionQuery(DeviceQuery):
    """What an MQTT topic would have said."""

    device_id: DeviceId | None = Field(
        None, description="The device, where the payload does not say it."
    )


class MetricSubmissionQuery(SubmissionQuery):
    """What an MQTT topic would have said where each metric has a topic of its own."""

    metric: str | None = Field(
        None, description="The metric, where the payload is a value alone.", examples=["voltage"]
    )


class RejectedQuery(DeviceQuery):
    """A page of rejected messages."""

    reason: Reason | None = Field(None, description="Only this reason code.")
    stream: Reason | None = Field(None, description="Only this stream.")
    limit: int = Field(
        100, ge=1, le=1000, description="At most this many messages.", examples=[100]
    )
    offset: int = Field(
        0, ge=0, le=2**53, description="Skip this many of the newest.", examples=[0]
    )


class RejectedPath(Described):
    """Which rejected message."""

    id: int = Field(ge=1, le=2**63 - 1, description="The message's id.", examples=[17])


class LiveQuery(DeviceQuery):
    """What to send live."""

    since: Since | None = Field(
        None,
        description="First what came after this id, or after this time. A number above the newest id is a time if it "
        "is a date (20260129) or has nine digits or more (a compact time, epoch time).",
    )


class Subscription(Described):
    """What a Socket.IO client subscribes to."""

    model_config = ConfigDict(extra="forbid")

    stream: str
    device_id: DeviceId | None = None
    since: Since | None = None

    @property
    def interest(self) -> Interest:
        """The same for `services.live`."""
        return Interest(self.stream, self.device_id)


class LastEventHeader(Described):
    """What a browser sends when it connects again."""

    last_event_id: LastEventId | None = Field(
        None,
        alias="Last-Event-ID",
        description="As `since`, which it outdoes; every whole number is an id.",
    )


class WaitQuery(Query):
    """How long the answer may take."""

    wait: float = Field(
        0,
        ge=0,
        le=60,
        description="Hold the answer up to this many seconds, until it is final.",
        examples=[10],
    )


class KeyHeader(Described):
    """What makes a repeated request harmless."""

    key: Key | None = Field(
        None, alias="Idempotency-Key", description="The same key gives the same command."
    )


class CommandPath(Described):
    """Which command."""

    command_id: Annotated[
        str,
        Field(max_length=MAX_COMMAND_ID, examples=["5d7f8a52-3a39-4c9b-9d0e-0f2f6a1b7c11"]),
        AfterValidator(checked_text),
    ]


class CommandsQuery(DeviceQuery):
    """Which commands."""

    status: Status | None = Field(None, description="Only in this state.", examples=["sent"])
    limit: int = Field(100, ge=1, le=1000, description="The newest this many.", examples=[100])


class Body(Described):
    """Base of JSON objects that are sent."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Self:
        """Refuse a body that is a JSON string: the router would read what stands in it as JSON once more."""
        return cls.model_validate(json_data)


class ControlBody(Body):
    """A command for a device."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"device_id": "ESP32_001", "command": "set_interval", "parameters": {"seconds": 5}}
            ]
        }
    )

    device_id: DeviceId
    command: CommandName
    parameters: Parameters = Field({})
    expires_in: Lifetime = 60

    def order(self) -> Order:
        """The same for `services.commands`."""
        return Order(self.device_id, self.command, self.parameters, self.expires_in)
