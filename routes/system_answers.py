"""Models of the responses about the backend and its streams, for the OpenAPI document."""

from pydantic import Field

from routes.answers import RejectedKept, Rfc3339
from routes.schemas import Described


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
    topic: str = Field(description="The first of its topics.")
    topics: list[str]
    device: str = Field(description="The payload's field with the device id; may be empty.")
    timestamp_required: bool
    metrics: list[MetricDeclaration]
    url: str


class StreamsAnswer(Described):
    """All declared streams."""

    count: int
    streams: list[StreamDeclaration]


class ReadingTotals(Described):
    """Readings of one source; a message can have several."""

    stored: int
    duplicate: int
    rejected: int


class Counts(Described):
    """Messages of one source; received = stored + duplicate + rejected + ignored."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    ignored: int
    ignored_by_reason: dict[str, int] = Field(
        description="`retained`: an undated message that the broker repeats; "
        "`empty`: a message that clears a retained one; "
        "`own`: a message that AutoForge sent itself; "
        "`except`: a message on a topic that its stream excludes; "
        "`only`: a message without the fields that its stream asks for; "
        "`no_values`: a message without a value of a metric."
    )
    readings: ReadingTotals
    values_left_out: int = Field(
        description="Values of optional metrics that could not be read, and fields beyond the "
        "names that a device may have, duplicates included; the readings are stored without them."
    )
    last_batch_at: Rfc3339 | None


class MqttHealth(Counts):
    """The ingester."""

    best_effort: int = Field(
        description="Messages received at QoS 0, which does not guarantee delivery."
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
        description="Seconds since it has been subscribed; null while there is a problem."
    )
    waiting: int = Field(description="Messages waiting for the database.")
    messages_per_second: float | None = Field(description="The rate in the last minute.")
    processing_ms: float | None = Field(description="Time to store one message.")
    evicted_at: Rfc3339 | None = Field(
        description="When another client used AutoForge's client id; shown for ten minutes."
    )
    forgotten_at: Rfc3339 | None = Field(
        description="When the broker had lost the session; shown for a day."
    )


class DatabaseHealth(Described):
    """The database."""

    reachable: bool
    url: str
    problem: str | None = Field(None, description="Why it cannot be written; null without problem.")


class StreamsHealth(Described):
    """The declarations of streams."""

    declarations: str = Field(description="A hash of the declarations that this process uses.")
    processes: dict[str, str] = Field(
        description="The hash of every running process, by host and process id."
    )
    unusable: dict[str, str] = Field(description="Why a stream cannot be used, by its name.")


class RejectedHealth(RejectedKept):
    """The table of rejected messages."""

    evicted: int = Field(description="Messages deleted to make room for newer ones.")


class JobHealth(Described):
    """A background job, which one process runs for all."""

    name: str
    holder: str = Field(description="The process that last ran it.")
    ran_at: Rfc3339 = Field(
        description="When the result of a run was last written to the database: after each run, "
        "but at most once a minute while the result stays the same."
    )
    error: str | None = Field(description="Why the last run failed; null after a success.")
    failing_since: Rfc3339 | None


class Root(Described):
    """The service and links to its parts."""

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
