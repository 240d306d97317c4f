"""Make the readings that `flask verify` publishes."""

from datetime import datetime
from typing import Any, NamedTuple

from ingest.read_back import unwritable
from models import VERIFY_DEVICE
from streams.metric import Metric
from streams.rest import BARE
from streams.sample_values import average_values
from streams.stream import Stream
from streams.writing import PayloadWriter
from utils import clock


class VerificationSample(NamedTuple):
    """A reading to publish, and the values that the backend should then serve."""

    topic: str
    payload: Any
    expected: dict[str, Any]
    at: datetime


def unverifiable(stream: Stream) -> str:
    """Return why no reading of a stream can be published and found again, or an empty text."""
    if not stream.can_name(VERIFY_DEVICE):
        return f"no message of it can name the device {VERIFY_DEVICE}"
    if reason := unwritable(stream):
        return f"its payloads cannot be written: {reason}"
    if not PayloadWriter(stream).has_time:
        return "its payloads have no place for a time"
    return ""


def plausible(stream: Stream, metric: Metric | None = None) -> VerificationSample:
    """Return a reading of `autoforge-verify` dated now.

    Where each metric has its own topic it has one metric: this one, or the first.
    """
    writer = PayloadWriter(stream)
    now = writer.time.representable(clock.now())
    at = clock.rfc3339(now)
    named = VERIFY_DEVICE if stream.is_named_by_payload else None
    values = average_values(stream)
    level = ""
    if stream.topic.has_metric:
        only = metric or stream.metrics[0]
        level, values = only.level, {only.name: values[only.name]}
        payload = writer.single(only, values[only.name], now, named)
    else:
        payload = writer.payload(values, now, named)
    if not stream.metrics:
        payload |= (values := {BARE: 1.0})
    topic = stream.topic_of(VERIFY_DEVICE, level)
    return VerificationSample(
        topic, payload, {"device_id": VERIFY_DEVICE, "timestamp": at, **values}, now
    )
