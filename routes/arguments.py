"""Models of requests, for validation and for the OpenAPI document."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from models import MAX_COMMAND_ID
from queries.readings import TimeFilter
from routes.fields import (
    CommandName,
    Decimal,
    DeviceId,
    Key,
    LastEventId,
    Lifetime,
    Parameters,
    QueryTime,
    Reason,
    Since,
    Status,
    Whole,
    Zone,
    checked_text,
)
from routes.schemas import Described
from services.commands import Order
from services.feed import Interest
from utils import calendar, clock
from utils.calendar import Span

MAX_SPAN = timedelta(days=3660)
LAST_TIME = datetime(9998, 1, 1)


class Query(Described):
    """Base class of query strings."""


class DeviceQuery(Query):
    """Select a device."""

    device_id: DeviceId | None = Field(None, description="Only this device.")


class TimeRangeQuery(DeviceQuery):
    """Select a device and a time range."""

    start: QueryTime | None = Field(
        None, alias="from", description="From this time on (inclusive)."
    )
    end: QueryTime | None = Field(None, alias="to", description="Before this time (exclusive).")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError("from: must not be after to")
        return self

    def filter(self) -> TimeFilter:
        """Return the filter for `queries`."""
        return TimeFilter(self.device_id, self.start, self.end)


class HistoryQuery(TimeRangeQuery):
    """Select a page of readings."""

    limit: Whole = Field(
        100, ge=1, le=10_000, description="At most this many readings.", examples=[100]
    )
    offset: Whole = Field(
        0, ge=0, le=2**53, description="Skip this many of the newest.", examples=[0]
    )


class ReadingsQuery(HistoryQuery):
    """Select a page of readings of any stream."""

    health: bool = Field(
        default=False,
        description="Include the health index of each, where the stream has ideal bands.",
        examples=[False],
    )


class ClocksQuery(DeviceQuery):
    """Select a page of devices."""

    limit: Whole = Field(
        1000, ge=1, le=1000, description="At most this many devices.", examples=[1000]
    )
    offset: Whole = Field(
        0,
        ge=0,
        le=2**53,
        description="Skip this many devices, in the order of their ids.",
        examples=[0],
    )


class MlQuery(TimeRangeQuery):
    """Select samples of readings."""

    limit: Whole = Field(
        1000, ge=1, le=100_000, description="The newest this many samples.", examples=[1000]
    )


class SpanQuery(Query):
    """Select a device and a limited time range for computed figures."""

    device_id: DeviceId = Field(description="The device.")
    start: QueryTime | None = Field(
        None, alias="from", description="From this time on; by default 24 hours before `to`."
    )
    end: QueryTime | None = Field(None, alias="to", description="Before this time; by default now.")
    tz: Zone = Field("UTC", description="The time zone of hours and days, such as Asia/Jakarta.")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        start, end = self.span()
        # One more second, because times such as -3660d were parsed a little earlier.
        if not timedelta(0) < end - start <= MAX_SPAN + timedelta(seconds=1):
            raise ValueError(f"from: must be before to, by {MAX_SPAN.days} days at most")
        if start < clock.EPOCH or end > LAST_TIME:
            raise ValueError("from, to: must be within the years 1970 to 9997")
        return self

    def span(self) -> Span:
        """Return the time range in naive UTC."""
        end = self.end or clock.now()
        return Span(self.start or max(end, clock.EPOCH) - timedelta(days=1), end)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return calendar.zone(self.tz)


class SubmissionQuery(DeviceQuery):
    """What the MQTT topic would contain."""

    device_id: DeviceId | None = Field(
        None, description="The device, if the payload does not name it."
    )


class MetricSubmissionQuery(SubmissionQuery):
    """What the MQTT topic would contain where each metric has its own topic."""

    metric: str | None = Field(
        None, description="The metric, if the payload is a bare value.", examples=["voltage"]
    )


class RejectedQuery(DeviceQuery):
    """Select a page of rejected messages."""

    reason: Reason | None = Field(None, description="Only this reason code.")
    stream: Reason | None = Field(None, description="Only this stream.")
    limit: Whole = Field(
        100, ge=1, le=1000, description="At most this many messages.", examples=[100]
    )
    offset: Whole = Field(
        0, ge=0, le=2**53, description="Skip this many of the newest.", examples=[0]
    )


class RejectedPath(Described):
    """Select a rejected message."""

    id: int = Field(ge=1, le=2**63 - 1, description="The message's id.", examples=[17])


class LiveQuery(DeviceQuery):
    """Select the events to push."""

    since: Since | None = Field(
        None,
        description="Send first the events after this id or this time. A number above the newest "
        "id is a time if it is a date (20260129) or has nine digits or more (a compact time, epoch "
        "time).",
    )


class Subscription(Described):
    """A subscription of a Socket.IO client."""

    model_config = ConfigDict(extra="forbid")

    stream: str
    device_id: DeviceId | None = None
    since: Since | None = None

    @property
    def interest(self) -> Interest:
        """The interest for `services.live`."""
        return Interest(self.stream, self.device_id)


class LastEventHeader(Described):
    """The header that a browser sends when it reconnects."""

    last_event_id: LastEventId | None = Field(
        None,
        alias="Last-Event-ID",
        description="As `since`, which it overrides; every whole number is an id.",
    )


class WaitQuery(Query):
    """Limit the time for the answer."""

    wait: Decimal = Field(
        0,
        ge=0,
        le=60,
        description="Wait up to this many seconds for the final state.",
        examples=[10],
    )


class KeyHeader(Described):
    """The header that makes a repeated request harmless."""

    key: Key | None = Field(
        None, alias="Idempotency-Key", description="The same key returns the same command."
    )


class RequestKeyHeader(Described):
    """The header by which readings without a time are known again."""

    key: Key | None = Field(
        None,
        alias="Idempotency-Key",
        description="A request with the same key within 24 hours stores no reading again.",
    )


class CommandPath(Described):
    """Select a command."""

    command_id: Annotated[
        str,
        Field(max_length=MAX_COMMAND_ID, examples=["5d7f8a52-3a39-4c9b-9d0e-0f2f6a1b7c11"]),
        AfterValidator(checked_text),
    ]


class CommandsQuery(DeviceQuery):
    """Select commands."""

    status: Status | None = Field(None, description="Only in this state.", examples=["sent"])
    limit: Whole = Field(
        100, ge=1, le=1000, description="At most this many, newest first.", examples=[100]
    )


class Body(Described):
    """Base class of JSON bodies."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Self:
        """Validate parsed JSON: the router would parse the content of a JSON string again."""
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
        """Return the order for `services.commands`."""
        return Order(self.device_id, self.command, self.parameters, self.expires_in)
