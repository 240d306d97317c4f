"""SQLAlchemy models: the fixed tables, and one reading table per stream."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeEngine

from streams.stream import Metric, Stream

MAX_DEVICE_ID = 128
VERIFY_DEVICE = "autoforge-verify"
"""Whose readings `flask verify` makes; lists and figures of all devices leave them out."""
MAX_COMMAND_ID = 36
MAX_TEXT = 255
MAX_TOPIC = 1024
MAX_STREAM = 40
MAX_METRIC = 51
MYSQL_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}

Timestamp = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""Naive UTC with microseconds."""
Identifier = BigInteger().with_variant(Integer, "sqlite")
LongText = Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
Bytes = LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb")


class Base(DeclarativeBase):
    """The fixed tables; `migrations/` creates and changes them."""


class Installation(Base):
    """What belongs to this database for ever; one row."""

    __tablename__ = "installation"
    __table_args__ = (MYSQL_OPTIONS,)

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(65))
    """The MQTT client id of the ingester: the broker keeps messages for it, whichever process or host that is."""
    notices_id: Mapped[str] = mapped_column(String(40))
    """What tells the topic of this installation's notices from that of another's; no secret, unlike the client id."""
    retired_client_id: Mapped[str | None] = mapped_column(String(65))
    """A client id that others may know, until its session has been emptied and ended."""
    handover: Mapped[str | None] = mapped_column(String(40))
    """The token of the marker up to which the retired session had everything; the new session begins after it."""
    session_client_id: Mapped[str | None] = mapped_column(String(65))
    """Whose session was last subscribed."""
    session_broker: Mapped[str | None] = mapped_column(String(300))
    """At which broker."""
    session_since: Mapped[datetime | None] = mapped_column(Timestamp)
    """Since when the broker has held it without a gap."""
    session_filters: Mapped[str | None] = mapped_column(LongText)
    """JSON: the topic filters that the session may have."""
    session_token: Mapped[str | None] = mapped_column(String(40))
    """The marker that was published once the session was there; nobody knew it before."""
    forgotten_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When it was last found that the broker had forgotten the session."""
    evicted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When another client was last seen using the client id."""


class RejectedMessage(Base):
    """A message that could not be stored as a reading, as it came, with the reason."""

    __tablename__ = "rejected_messages"
    __table_args__ = (Index("ix_rejected_messages_share", "share", "id"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    stream: Mapped[str | None] = mapped_column(String(MAX_STREAM), index=True)
    topic: Mapped[str] = mapped_column(String(MAX_TOPIC))
    payload: Mapped[bytes] = mapped_column(Bytes)
    """The raw bytes; of a very long message, the beginning."""
    payload_size: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(40), index=True)
    message: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
    device_id: Mapped[str | None] = mapped_column(String(MAX_DEVICE_ID), index=True)
    """The device that sent it, where topic or payload says so."""
    share: Mapped[int] = mapped_column(BigInteger, default=0)
    """The `RejectedShare` that it counts in."""


class RejectedShare(Base):
    """What the rejected messages of one device and reason hold; of one topic, where the device is unknown."""

    __tablename__ = "rejected_shares"
    __table_args__ = (MYSQL_OPTIONS,)

    share: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """A hash of what it is of; 0 for messages of no share of their own, and for the lock of all writers."""
    stream: Mapped[str | None] = mapped_column(String(MAX_STREAM))
    device_id: Mapped[str | None] = mapped_column(String(MAX_DEVICE_ID))
    topic: Mapped[str | None] = mapped_column(String(MAX_TEXT))
    reason: Mapped[str | None] = mapped_column(String(40))
    messages: Mapped[int] = mapped_column(BigInteger)
    """How many of them are kept."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    """What those take."""
    evicted: Mapped[int] = mapped_column(BigInteger)
    """How many others made room."""


class RejectionCount(Base):
    """How many messages were ever rejected for a reason; exact, also after old rows have made room."""

    __tablename__ = "rejection_counts"
    __table_args__ = (MYSQL_OPTIONS,)

    reason: Mapped[str] = mapped_column(String(40), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


RETAINED, EMPTY, OWN = "retained", "empty", "own"
"""Why a message is ignored: it is an old one that the broker repeats, it clears such a one, or AutoForge sent it."""


class IgnoredCount(Base):
    """How many messages that came in by one way were ever ignored for a reason."""

    __tablename__ = "ignored_counts"
    __table_args__ = (MYSQL_OPTIONS,)

    source: Mapped[str] = mapped_column(String(10), primary_key=True)
    reason: Mapped[str] = mapped_column(String(40), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class IngestStatus(Base):
    """What came in by one way (`mqtt`, `http`), counted in the transaction that stores it; and how the ingester is."""

    __tablename__ = "ingest_status"
    __table_args__ = (MYSQL_OPTIONS,)

    source: Mapped[str] = mapped_column(String(10), primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    stored: Mapped[int] = mapped_column(BigInteger, default=0)
    duplicate: Mapped[int] = mapped_column(BigInteger, default=0)
    rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    ignored: Mapped[int] = mapped_column(BigInteger, default=0)
    best_effort: Mapped[int] = mapped_column(BigInteger, default=0)
    """How many of the received came at QoS 0, which promises nothing."""
    first_deliveries: Mapped[int] = mapped_column(BigInteger, default=0)
    """How many of the received came without the DUP flag."""
    last_batch_at: Mapped[datetime | None] = mapped_column(Timestamp)
    holder: Mapped[str | None] = mapped_column(String(200))
    """Host and process id of the ingester."""
    heartbeat_at: Mapped[datetime | None] = mapped_column(Timestamp)
    connected: Mapped[bool] = mapped_column(Boolean, default=False)
    subscribed: Mapped[bool] = mapped_column(Boolean, default=False)
    problem: Mapped[str | None] = mapped_column(String(300))
    messages_per_second: Mapped[float | None] = mapped_column(Double)
    """How many were received in the last minute."""
    processing_ms: Mapped[float | None] = mapped_column(Double)
    """How long it took to store one of them."""
    waiting: Mapped[int] = mapped_column(Integer, default=0)
    """How many wait for the database."""
    changed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """Since when `connected`, `subscribed` and `problem` have been as they are."""


class Analysed(Base):
    """Up to which reading the analyses of a stream are published."""

    __tablename__ = "analyses"
    __table_args__ = (MYSQL_OPTIONS,)

    stream: Mapped[str] = mapped_column(String(MAX_STREAM), primary_key=True)
    reading_id: Mapped[int] = mapped_column(BigInteger)


class StreamState(Base):
    """A stream whose table is in use; a writer locks its row, so that ids are committed in their order."""

    __tablename__ = "stream_states"
    __table_args__ = (MYSQL_OPTIONS,)

    stream: Mapped[str] = mapped_column(String(MAX_STREAM), primary_key=True)
    table: Mapped[str] = mapped_column("table_name", String(63))
    """Its table, whose keys and devices are kept since then."""
    newest_of: Mapped[str] = mapped_column(LongText)
    """The metrics whose newest values are kept, with spaces between them."""


class Device(Base):
    """A device of a stream that a reading came from."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_last_heard", "stream", "last_heard"), MYSQL_OPTIONS)

    stream: Mapped[str] = mapped_column(String(MAX_STREAM), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    last_id: Mapped[int] = mapped_column(BigInteger)
    """The highest id among its readings."""
    last_heard: Mapped[datetime | None] = mapped_column(Timestamp)
    """When the server received the last reading of it, also one that was stored before; no retained one."""


class NewestValue(Base):
    """The newest reading of a device that has a value of a metric; only of metrics that a reading may lack."""

    __tablename__ = "newest_values"
    __table_args__ = (
        Index("ix_newest_values_by_time", "stream", "metric", "timestamp", "reading_id"),
        MYSQL_OPTIONS,
    )

    stream: Mapped[str] = mapped_column(String(MAX_STREAM), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    metric: Mapped[str] = mapped_column(String(MAX_METRIC), primary_key=True)
    timestamp: Mapped[datetime] = mapped_column(Timestamp)
    reading_id: Mapped[int] = mapped_column(BigInteger)


class DeliveredBatch(Base):
    """The newest deliveries that carry no usable device time: what tells their redelivery from a new message."""

    __tablename__ = "delivered_batches"
    __table_args__ = (MYSQL_OPTIONS,)

    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    first_deliveries: Mapped[int] = mapped_column(BigInteger, index=True)
    """How many there had been, ever, with this batch."""
    deliveries: Mapped[str] = mapped_column(LongText)
    """JSON: a list of [packet id, hash of topic and payload]."""


class Command(Base):
    """What a device was told to do, and what became of it."""

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
    reason: Mapped[str | None] = mapped_column(String(500))
    result: Mapped[str | None] = mapped_column(LongText)
    """JSON, as the device answered."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    issued_at: Mapped[datetime] = mapped_column(Timestamp)
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    boot: Mapped[str | None] = mapped_column(String(36))
    """The run of the machine on which it was issued; there `deadline` says when it expires."""
    deadline: Mapped[float | None] = mapped_column(Double)
    """Seconds since that machine was started, which no change of its clock touches."""
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)


class Presence(Base):
    """Whether a device said last that it is online, or its broker that it is not."""

    __tablename__ = "presence"
    __table_args__ = (MYSQL_OPTIONS,)

    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    online: Mapped[bool | None] = mapped_column(Boolean)
    """None once the message that said so was cleared."""
    changed_at: Mapped[datetime] = mapped_column(Timestamp)


class Process(Base):
    """A process of the backend that runs, and the declarations it runs with."""

    __tablename__ = "processes"
    __table_args__ = (MYSQL_OPTIONS,)

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Host and process id."""
    declarations: Mapped[str] = mapped_column(String(12))
    """What `Streams.digest` is there."""
    heartbeat_at: Mapped[datetime] = mapped_column(Timestamp)


# Nearly all readings have none; MySQL has no index of some rows only.
_STATED = text("device_timestamp IS NOT NULL")


class JobState(Base):
    """How the last run of a job ended."""

    __tablename__ = "jobs"
    __table_args__ = (MYSQL_OPTIONS,)

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    """The process that ran it."""
    ran_at: Mapped[datetime] = mapped_column(Timestamp)
    error: Mapped[str | None] = mapped_column(String(500))
    failing_since: Mapped[datetime | None] = mapped_column(Timestamp)


def reading_table(stream: Stream, metadata: MetaData) -> Table:
    """The table of one stream: the common columns and one nullable column per metric."""
    return Table(
        stream.table,
        metadata,
        Column("id", Identifier, primary_key=True),
        Column("device_id", String(MAX_DEVICE_ID), nullable=False),
        Column("timestamp", Timestamp, nullable=False),
        # What the device said its time was, where that could not be believed and the server's was taken.
        Column("device_timestamp", String(64)),
        *[Column(metric.name, metric_type(metric)) for metric in stream.metrics],
        Column("fingerprint", BigInteger, nullable=False),
        Column("created_at", Timestamp, nullable=False),
        Index(f"uq_{stream.table}", "device_id", "timestamp", "fingerprint", unique=True),
        Index(f"ix_{stream.table}_timestamp", "timestamp"),
        Index(f"ix_{stream.table}_created_at", "created_at"),
        Index(f"ix_{stream.table}_stated", "device_timestamp", sqlite_where=_STATED, postgresql_where=_STATED),
        **MYSQL_OPTIONS,
    )


def metric_type(metric: Metric) -> TypeEngine[Any]:
    """The column type of a metric."""
    return Double() if metric.type == "number" else String(MAX_TEXT)


def reading_tables(streams: Iterable[Stream]) -> dict[str, Table]:
    """The table of every stream, by the stream's name."""
    metadata = MetaData()
    return {stream.name: reading_table(stream, metadata) for stream in streams}
