"""SQLAlchemy models: what is known of devices beside their readings."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from columns import MYSQL_OPTIONS
from models import MAX_EXAMPLE, Base
from streams.checks import MAX_METRIC_NAME, MAX_STREAM_NAME
from streams.rest import MAX_NAME
from utils.identity import MAX_DEVICE_ID


class Device(Base):
    """A device of a stream that has sent a reading."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_last_heard", "stream", "last_heard"), MYSQL_OPTIONS)

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    last_id: Mapped[int]
    """The highest id among its readings."""
    last_heard: Mapped[datetime | None]
    """When its last reading was received, duplicates included and retained ones excluded."""


class RestName(Base):
    """A name of a field that no metric takes, and that a device has sent."""

    __tablename__ = "rest_names"
    __table_args__ = (MYSQL_OPTIONS,)

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME), primary_key=True)


class NewestValue(Base):
    """A device's newest reading with a value of a metric; only of metrics that may be missing."""

    __tablename__ = "newest_values"
    __table_args__ = (
        Index("ix_newest_values_by_time", "stream", "metric", "timestamp", "reading_id"),
        MYSQL_OPTIONS,
    )

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    metric: Mapped[str] = mapped_column(String(MAX_METRIC_NAME), primary_key=True)
    timestamp: Mapped[datetime]
    reading_id: Mapped[int]


class MetricQuality(Base):
    """How often a device's stored readings had no value of an optional metric that they named."""

    __tablename__ = "metric_quality"

    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    metric: Mapped[str] = mapped_column(String(MAX_METRIC_NAME), primary_key=True)
    missing: Mapped[int]
    """How many said that there is no value, such as null and NaN."""
    unreadable: Mapped[int]
    last_example: Mapped[str] = mapped_column(String(MAX_EXAMPLE))
    last_at: Mapped[datetime]


class Presence(Base):
    """Whether a device is online, as it or its will said last in one stream or in all."""

    __tablename__ = "presence"

    device_id: Mapped[str] = mapped_column(String(MAX_DEVICE_ID), primary_key=True)
    stream: Mapped[str] = mapped_column(String(MAX_STREAM_NAME), primary_key=True, default="")
    """The stream whose device it is; empty for the device of all streams."""
    online: Mapped[bool | None]
    """None once the retained message was cleared."""
    changed_at: Mapped[datetime]
    place: Mapped[int] = mapped_column(default=0)
    """Higher than the places of what the device said before; the clock may have been set back."""
