"""Models of responses, for the OpenAPI document."""

from typing import Annotated

from pydantic import Field, JsonValue

from routes.fields import Status
from routes.schemas import Described
from services.clock_judgement import LooksLike

Rfc3339 = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Error(Described):
    """What is wrong and what to do."""

    message: str


class NotFound(Error):
    """Nothing matches the request."""

    device_id: str | None = None
    similar: list[str] | None = Field(None, description="Similar ids that have readings.")


class ControlAnswer(Described):
    """The published command; `url` returns its state."""

    status: str
    command_id: str
    device_id: str
    command: str
    url: str
    message: str
    hint: str | None = Field(None, description="A warning: no message of this device was received.")


class CommandAnswer(Described):
    """A command and its state."""

    command_id: str
    device_id: str
    command: str
    status: Status
    reason: str | None
    parameters: dict[str, JsonValue]
    result: JsonValue = Field(description="The device's answer.")
    issued_at: Rfc3339
    expires_at: Rfc3339
    sent_at: Rfc3339 | None
    updated_at: Rfc3339
    url: str
    hint: str | None = Field(None, description="Only in the answer for a single command.")


class CommandsAnswer(Described):
    """Commands, newest first."""

    count: int
    limit: int
    data: list[CommandAnswer]


class Undelivered(Error):
    """A command that the broker did not confirm."""

    command_id: str | None = None


class RejectedItem(Described):
    """A rejected reading of a submission."""

    index: int
    reason: str
    message: str


class SubmissionAnswer(Described):
    """The outcome of a submission."""

    stored: int
    duplicate: int
    rejected: int
    ignored: int | None = Field(None, description="Readings that the stream ignores, if any.")
    readings: int | None = Field(
        None, description="Where a payload has several readings: how many are stored now."
    )
    errors: list[RejectedItem]


class RefusedSubmission(Error):
    """A submission of which nothing was stored; no counts if the body could not be read."""

    stored: int | None = None
    duplicate: int | None = None
    rejected: int | None = None
    errors: list[RejectedItem] | None = None


class DeviceAnswer(Described, title="Device"):
    """A device with the times of its readings."""

    device_id: str
    first_seen: Rfc3339 = Field(description="The device's own time of its first reading.")
    last_seen: Rfc3339 = Field(description="The device's own time of its newest reading.")
    last_heard: Rfc3339 | None = Field(
        description="When the server received its last reading; "
        "null if the device is known from a retained message only."
    )
    silent_for: float | None = Field(
        description="Seconds since `last_heard`; null without one, "
        "or if nothing was received since the clock was set back."
    )
    online: bool | None = Field(
        description="The last status from the device or its broker; null without one."
    )


class DevicesAnswer(Described):
    """All devices of a stream."""

    count: int
    devices: list[DeviceAnswer]


class ClockAnswer(Described, title="Clock"):
    """The clock of a device, judged by the times that its newest readings state."""

    device_id: str
    offset_seconds: float | None = Field(
        description="How far the clock is ahead of the server's, negative if it is behind; "
        "null if it is not set."
    )
    looks_like: LooksLike
    advice: str | None = Field(description="What to do; null if the clock is right.")


class ClocksAnswer(Described):
    """The devices whose readings tell how their clocks are, in the order of the ids."""

    count: int
    limit: int
    offset: int
    device_id: str | None
    data: list[ClockAnswer]


class MetricQualityAnswer(Described, title="MetricQuality"):
    """The faults of a device's optional metric in readings that are stored."""

    device_id: str
    metric: str
    missing: int = Field(description="Readings with no value for it, such as null or NaN.")
    unreadable: int = Field(
        description="Readings with a value that could not be read; `/api/rejected` keeps their "
        "messages as `partly_read`."
    )
    last_example: str = Field(description="The last such value as it came, shortened.")
    last_at: Rfc3339 = Field(description="When its reading was stored.")


class QualityAnswer(Described):
    """The faults of optional metrics, by device and metric."""

    data: list[MetricQualityAnswer]


class RejectedMessageAnswer(Described, title="RejectedMessage"):
    """A rejected message with the beginning of its payload."""

    id: int
    stream: str | None
    device_id: str | None = Field(description="The sender, if the topic or payload names it.")
    topic: str
    payload: str = Field(
        description="The beginning, at most 1 KB; bytes that are not UTF-8 as `\\xff`."
    )
    payload_size: int = Field(description="Size in bytes as received.")
    truncated: bool = Field(
        description="Whether only the beginning is kept, because the payload exceeded 64 KB."
    )
    reason: str
    message: str
    created_at: Rfc3339


class RejectedPayload(RejectedMessageAnswer, title="RejectedPayload"):
    """A rejected message with its kept payload."""

    payload_base64: str


class RejectedRoom(Described):
    """The limits of the kept messages."""

    messages: int
    bytes: int


class RejectedKept(Described):
    """The amount of kept rejected messages and its limits."""

    messages: int
    bytes: int
    max: RejectedRoom


class RejectedShareAnswer(Described, title="RejectedShare"):
    """The messages of one device, or of one topic if it is unknown, rejected for one reason."""

    stream: str | None
    device_id: str | None
    topic: str | None
    reason: str | None
    messages: int
    bytes: int
    evicted: int


class RejectedAnswer(Described):
    """Rejected messages, newest first, with counts by reason of all ever rejected."""

    count: int
    limit: int
    offset: int
    counts: dict[str, int]
    evicted: int = Field(description="Messages deleted to make room for newer ones.")
    kept: RejectedKept
    shares: list[RejectedShareAnswer] = Field(description="The largest shares.")
    data: list[RejectedMessageAnswer]
