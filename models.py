"""SQLAlchemy models: the fixed tables. Those of the streams: `storage/reading_tables.py`."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Double, Index, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from columns import MYSQL_OPTIONS, Bytes, Identifier, LongText, Timestamp
from streams.checks import MAX_STREAM_NAME
from utils.identity import MAX_DEVICE_ID, MAX_TEXT
from utils.process import MAX_PROCESS_NAME

VERIFY_DEVICE = "autoforge-verify"
"""The device whose readings `flask verify` makes; lists and figures of all devices omit it."""
IGNORED = ("retained", "empty", "own", "except", "only", "no_values")
RETAINED, EMPTY, OWN, EXCLUDED, NOT_ONLY, NO_VALUES = IGNORED
"""Why a message is ignored: the broker repeats it, it clears such a one, AutoForge sent it, its
stream excludes its topic or asks for other fields, or it has no value of a metric."""

MAX_COMMAND_ID = 36
MAX_CLIENT_ID = 65
MAX_DEVICE_TIMESTAMP = 64
"""A time that a device gave and that was not credible."""
MAX_TOPIC = 1024
MAX_REASON_CODE = 40
"""A reason code, such as `invalid_json`."""
MAX_MESSAGE = 500
"""An error message."""
MAX_EXAMPLE = 100
"""A wrong value as errors show it, in any encoding."""
MAX_PROBLEM = 300
"""An error message about the broker, or its address."""
MAX_NODE = 400
"""An edge node of Sparkplug, with its namespace and group."""
MAX_TOKEN = 40
MAX_SOURCE = 10


class Base(DeclarativeBase):
    """The fixed tables; `migrations/` creates and changes them."""

    __table_args__: Any = MYSQL_OPTIONS
    type_annotation_map: ClassVar = {datetime: Timestamp, int: BigInteger(), float: Double()}


class Installation(Base):
    """The identity of this database and its session at the broker; one row."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(MAX_CLIENT_ID))
    """The ingester's MQTT client id: the broker keeps messages for it, whichever host runs it."""
    notices_id: Mapped[str] = mapped_column(String(MAX_TOKEN))
    """Distinguishes this installation's topic of notices; no secret, unlike the client id."""
    retired_client_id: Mapped[str | None] = mapped_column(String(MAX_CLIENT_ID))
    """A client id that others may know, until its session has been emptied and ended."""
    handover: Mapped[str | None] = mapped_column(String(MAX_TOKEN))
    """The token of the marker at which the retired session ends and the new one begins."""
    session_client_id: Mapped[str | None] = mapped_column(String(MAX_CLIENT_ID))
    """The client id that subscribed last."""
    session_broker: Mapped[str | None] = mapped_column(String(MAX_PROBLEM))
    """The broker that it subscribed at."""
    session_since: Mapped[datetime | None]
    """Since when the broker has kept the session without a gap."""
    session_filters: Mapped[str | None] = mapped_column(LongText)
    """JSON: the topic filters that the session may have."""
    session_token: Mapped[str | None] = mapped_column(String(MAX_TOKEN))
    """The marker that was published once the session existed; nobody knew it before."""
    forgotten_at: Mapped[datetime | None]
    """When the broker was last found to have forgotten the session."""
    evicted_at: Mapped[datetime | None]
    """When another client was last seen using the client id."""


class RejectedMessage(Base):
    """A message that could not be stored, or not wholly read, as it came, with the reason.

    Delete rows only through `ingest/rejected.py` or `queries.rejected.forget`, which keep the
    totals of `RejectedShare` equal to the rows.
    """

    __tablename__ = "rejected_messages"
    __table_args__ = (Index("ix_rejected_messages_share", "share", "id"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    stream: Mapped[str | None] = mapped_column(String(MAX_STREAM_NAME), index=True)
    topic: Mapped[str] = mapped_column(String(MAX_TOPIC))
    payload: Mapped[bytes] = mapped_column(Bytes)
    """The raw bytes; of a very long message, the beginning."""
    payload_size: Mapped[int]
    reason: Mapped[str] = mapped_column(String(MAX_REASON_CODE), index=True)
    message: Mapped[str] = mapped_column(String(MAX_MESSAGE))
    created_at: Mapped[datetime] = mapped_column(index=True)
    device_id: Mapped[str | None] = mapped_column(String(MAX_DEVICE_ID), index=True)
    """The device that sent it, if topic or payload says so."""
    share: Mapped[int] = mapped_column(default=0)
    """The `RejectedShare` that it counts in."""


class RejectedShare(Base):
    """Totals of the rejected messages of one device (or topic, if it names none) and reason."""

    __tablename__ = "rejected_shares"

    share: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """A hash of the key; 0 for messages without a share, and for the lock of all writers."""
    stream: Mapped[str | None] = mapped_column(String(MAX_STREAM_NAME))
    device_id: Mapped[str | None] = mapped_column(String(MAX_DEVICE_ID))
    topic: Mapped[str | None] = mapped_column(String(MAX_TEXT))
    reason: Mapped[str | None] = mapped_column(String(MAX_REASON_CODE))
    messages: Mapped[int]
    """How many are kept."""
    bytes: Mapped[int]
    """How much room they take."""
    evicted: Mapped[int]
    """How many were deleted to make room."""


class RejectionCount(Base):
    """How many messages were ever rejected for a reason; exact, also after rows were deleted."""

    __tablename__ = "rejection_counts"

    reason: Mapped[str] = mapped_column(String(MAX_REASON_CODE), primary_key=True)
    count: Mapped[int]


class IgnoredCount(Base):
    """How many messages from one source were ever ignored for a reason."""

    __tablename__ = "ignored_counts"

    source: Mapped[str] = mapped_column(String(MAX_SOURCE), primary_key=True)
    reason: Mapped[str] = mapped_column(String(MAX_REASON_CODE), primary_key=True)
    count: Mapped[int]


class IngestStatus(Base):
    """Counters of one source (`mqtt`, `http`), exact as the rows; the state of the ingester."""

    __tablename__ = "ingest_status"

    source: Mapped[str] = mapped_column(String(MAX_SOURCE), primary_key=True)
    received: Mapped[int] = mapped_column(default=0)
    stored: Mapped[int] = mapped_column(default=0)
    duplicate: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    ignored: Mapped[int] = mapped_column(default=0)
    best_effort: Mapped[int] = mapped_column(default=0)
    """How many of the received came at QoS 0, which promises nothing."""
    values_left_out: Mapped[int] = mapped_column(default=0)
    """How many values of optional metrics could not be read; their readings have none there."""
    readings_stored: Mapped[int] = mapped_column(default=0)
    """How many readings were new; a message can have several."""
    readings_duplicate: Mapped[int] = mapped_column(default=0)
    readings_rejected: Mapped[int] = mapped_column(default=0)
    first_deliveries: Mapped[int] = mapped_column(default=0)
    """How many of the received came without the DUP flag."""
    last_batch_at: Mapped[datetime | None]
    holder: Mapped[str | None] = mapped_column(String(MAX_PROCESS_NAME))
    """Host and process id of the ingester."""
    heartbeat_at: Mapped[datetime | None]
    connected: Mapped[bool] = mapped_column(default=False)
    subscribed: Mapped[bool] = mapped_column(default=False)
    problem: Mapped[str | None] = mapped_column(String(MAX_PROBLEM))
    messages_per_second: Mapped[float | None]
    """The rate of received messages over the last minute."""
    processing_ms: Mapped[float | None]
    """How long it took to store one of them."""
    waiting: Mapped[int] = mapped_column(Integer, default=0)
    """How many wait for the database."""
    changed_at: Mapped[datetime | None]
    """When `connected`, `subscribed` or `problem` last changed."""


class Analysed(Base):
    """The last reading of a stream whose analyses are published."""

    __tablename__ = "analyses"

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    reading_id: Mapped[int]


class StreamState(Base):
    """A stream in use; a writer locks its row, so that ids are committed in their order."""

    __tablename__ = "stream_states"

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    table: Mapped[str] = mapped_column("table_name", String(63))
    """Its table, whose keys and devices are kept since then."""
    newest_of: Mapped[str] = mapped_column(LongText)
    """The metrics whose newest values are kept, separated by spaces."""


class DeliveredBatch(Base):
    """The newest deliveries without a device time, to tell a redelivery from a new message."""

    __tablename__ = "delivered_batches"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    first_deliveries: Mapped[int] = mapped_column(index=True)
    """How many there had been, ever, with this batch."""
    deliveries: Mapped[str] = mapped_column(LongText)
    """JSON: a list of [packet id, hash of topic and payload]."""


class BirthCertificate(Base):
    """The last birth certificate of an edge node of Sparkplug, or of one of its devices."""

    __tablename__ = "birth_certificates"

    node: Mapped[str] = mapped_column(String(MAX_NODE), primary_key=True)
    """With its namespace and group, such as `spBv1.0/plant/edge1`."""
    device: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    """Empty for the edge node itself."""
    metrics: Mapped[bytes] = mapped_column(Bytes)
    """JSON: the data types of the metrics by name, and their names by alias."""


class KeyedRequest(Base):
    """A request with readings and an `Idempotency-Key`, by which its repetitions are known."""

    __tablename__ = "keyed_requests"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    """A hash of the stream and the key."""
    content: Mapped[str] = mapped_column(String(32))
    """A hash of what was sent."""
    received_at: Mapped[datetime] = mapped_column(index=True)


class Command(Base):
    """A command to a device, and its state."""

    __tablename__ = "commands"
    __table_args__ = (
        Index("ix_commands_device_id", "device_id", "id"),
        Index("ix_commands_status", "status", "expires_at"),
        Index("ix_commands_updated_at", "updated_at"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    command_id: Mapped[str] = mapped_column(String(MAX_COMMAND_ID), unique=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID))
    command: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[str] = mapped_column(LongText)
    """JSON: an object."""
    status: Mapped[str] = mapped_column(String(12))
    """`pending`, `sent`, `in_progress`; finally `succeeded`, `failed`, `rejected` or `expired`."""
    reason: Mapped[str | None] = mapped_column(String(MAX_MESSAGE))
    result: Mapped[str | None] = mapped_column(LongText)
    """JSON, as the device answered."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    boot: Mapped[str | None] = mapped_column(String(36))
    """The boot of the machine that issued it; there `deadline` says when it expires."""
    deadline: Mapped[float | None]
    """Seconds since that machine was started, which no change of its clock affects."""
    sent_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]


class Process(Base):
    """A running process of the backend, and the declarations it runs with."""

    __tablename__ = "processes"

    name: Mapped[str] = mapped_column(String(MAX_PROCESS_NAME), primary_key=True)
    """Host and process id."""
    declarations: Mapped[str] = mapped_column(String(12))
    """Its `Streams.digest`."""
    heartbeat_at: Mapped[datetime]


class JobState(Base):
    """How the last run of a job ended."""

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(MAX_PROCESS_NAME))
    """The process that ran it."""
    ran_at: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(String(MAX_MESSAGE))
    failing_since: Mapped[datetime | None]
