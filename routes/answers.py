"""What answers look like: for the OpenAPI document."""

from typing import Annotated

from pydantic import Field, JsonValue

from routes.fields import Status
from routes.schemas import Described

Rfc3339 = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Error(Described):
    """What was wrong and what to do."""

    message: str


class NotFound(Error):
    """Nothing matches."""

    device_id: str | None = None
    similar: list[str] | None = Field(None, description="Ids like it of which there are readings.")


class ControlAnswer(Described):
    """The command as published; `url` tells what becomes of it."""

    status: str
    command_id: str
    device_id: str
    command: str
    url: str
    message: str
    hint: str | None = Field(None, description="What may be wrong: no such device was ever heard.")


class CommandAnswer(Described):
    """A command with its state."""

    command_id: str
    device_id: str
    command: str
    status: Status
    reason: str | None
    parameters: dict[str, JsonValue]
    result: JsonValue = Field(description="As the device answered.")
    issued_at: Rfc3339
    expires_at: Rfc3339
    sent_at: Rfc3339 | None
    updated_at: Rfc3339
    url: str
    hint: str | None = Field(None, description="In the answer to the command alone.")


class CommandsAnswer(Described):
    """Commands, newest first."""

    count: int
    limit: int
    data: list[CommandAnswer]


class Undelivered(Error):
    """The command that the broker did not confirm."""

    command_id: str | None = None


class RejectedItem(Described):
    """A rejected reading of a submission."""

    index: int
    reason: str
    message: str


class SubmissionAnswer(Described):
    """What became of the readings."""

    stored: int
    duplicate: int
    rejected: int
    errors: list[RejectedItem]


class RefusedSubmission(Error):
    """Why nothing was stored; the counts are missing where the body as a whole could not be read."""

    stored: int | None = None
    duplicate: int | None = None
    rejected: int | None = None
    errors: list[RejectedItem] | None = None


class Device(Described):
    """A device and when it was heard."""

    device_id: str
    first_seen: Rfc3339 = Field(description="The time of its first reading, as the device said.")
    last_seen: Rfc3339 = Field(description="The time of its newest reading, as the device said.")
    last_heard: Rfc3339 | None = Field(
        description="When the server received its last reading; null of a device known from a retained message only."
    )
    silent_for: float | None = Field(
        description="Seconds since `last_heard`; null if it is none, or not heard again since the clock was set back."
    )
    online: bool | None = Field(
        description="As the device and its broker said last; null if it never said so."
    )


class DevicesAnswer(Described):
    """All devices of a stream."""

    count: int
    devices: list[Device]


class RejectedMessage(Described):
    """A rejected message, with the beginning of its payload."""

    id: int
    stream: str | None
    device_id: str | None = Field(description="Who sent it, where topic or payload says so.")
    topic: str
    payload: str = Field(
        description="The beginning, at most 1 KB; bytes that are no UTF-8 as `\\xff`."
    )
    payload_size: int = Field(description="Bytes as it came.")
    truncated: bool = Field(
        description="Whether only the beginning was kept, because it was over 64 KB."
    )
    reason: str
    message: str
    created_at: Rfc3339


class RejectedPayload(RejectedMessage):
    """A rejected message with all that was kept of it."""

    payload_base64: str


class RejectedRoom(Described):
    """The limits of what is kept."""

    messages: int
    bytes: int


class RejectedKept(Described):
    """What is kept of the rejected messages, and how much may be."""

    messages: int
    bytes: int
    max: RejectedRoom


class RejectedShare(Described):
    """What one device, or where it is unknown one topic, holds for one reason."""

    stream: str | None
    device_id: str | None
    topic: str | None
    reason: str | None
    messages: int
    bytes: int
    evicted: int


class RejectedAnswer(Described):
    """Rejected messages, newest first, and how many there ever were by reason."""

    count: int
    limit: int
    offset: int
    counts: dict[str, int]
    evicted: int = Field(description="How many made room for others; their payloads are gone.")
    kept: RejectedKept
    shares: list[RejectedShare] = Field(description="Those that hold most.")
    data: list[RejectedMessage]


class MetricDeclaration(Described):
    """A declared metric."""

    name: str
    title: str
    unit: str
    type: str
    required: bool
    plural: str


class StreamDeclaration(Described):
    """A declared stream."""

    name: str
    title: str
    topic: str
    device: str
    timestamp_required: bool
    metrics: list[MetricDeclaration]
    url: str


class StreamsAnswer(Described):
    """All declared streams."""

    count: int
    streams: list[StreamDeclaration]


class Counts(Described):
    """Messages that came in by one way; received = stored + duplicate + rejected + ignored."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    ignored: int
    ignored_by_reason: dict[str, int] = Field(
        description="`retained`: an old message without a time that the broker repeats; `empty`: it clears such a one."
    )
    last_batch_at: Rfc3339 | None


class MqttHealth(Counts):
    """The ingester."""

    best_effort: int = Field(
        description="How many of the received came at QoS 0, which promises nothing."
    )

    broker: str
    holder: str | None
    heartbeat_at: Rfc3339 | None
    running: bool
    connected: bool
    subscribed: bool
    problem: str | None
    since: Rfc3339 | None
    uptime: float | None = Field(
        description="Seconds since it is subscribed; null while something is wrong."
    )
    waiting: int = Field(description="Messages that wait for the database.")
    messages_per_second: float | None = Field(description="In the last minute.")
    processing_ms: float | None = Field(description="How long it took to store one of them.")
    evicted_at: Rfc3339 | None = Field(
        description="When another client used AutoForge's client id, for ten minutes."
    )
    forgotten_at: Rfc3339 | None = Field(
        description="When the broker had forgotten the session, for a day."
    )


class DatabaseHealth(Described):
    """The database."""

    reachable: bool
    url: str
    problem: str | None = Field(None, description="Why it cannot be written; null while it can.")


class StreamsHealth(Described):
    """The declarations."""

    declarations: str = Field(description="A hash of the declarations that this process has read.")
    processes: dict[str, str] = Field(
        description="The same for every process that runs, by host and process id."
    )
    unusable: dict[str, str] = Field(
        description="The streams that cannot be used, by name, and why."
    )


class RejectedHealth(RejectedKept):
    """The table of rejected messages."""

    evicted: int = Field(description="How many made room for others.")


class JobHealth(Described):
    """Work that one process does for all."""

    name: str
    holder: str = Field(description="The process that ran it last.")
    ran_at: Rfc3339 = Field(
        description="When the database was told last; once a minute if nothing changes."
    )
    error: str | None = Field(description="Why the last run failed; null where it did not.")
    failing_since: Rfc3339 | None


class Root(Described):
    """What this is, and where to go on."""

    service: str
    version: str
    docs: str
    openapi: str
    health: str
    streams: str


class Health(Described):
    """The state of the backend."""

    status: str
    service: str
    version: str
    message: str | None = None
    database: DatabaseHealth
    mqtt: MqttHealth | None = None
    http: Counts | None = None
    rejected_messages: RejectedHealth | None = None
    streams: StreamsHealth | None = None
    jobs: list[JobHealth] | None = None
