"""Pipelines for the tests, wired as those of a backend, and messages for them."""

from collections.abc import Callable

from broker.message import Message
from broker.notifier import ChangeSet
from database import Database
from ingest.counting import Source
from ingest.outcome import Outcome
from ingest.pipeline import Listeners, Pipeline
from ingest.redelivery import RecentDeliveries
from ingest.rejected import RejectedLimits
from streams.registry import Streams
from tests.support import ignore
from utils import clock
from wiring import pipelines


def message(
    text_: str | bytes, topic: str = "sensors/ESP32_001/data", packet_id: int = 1, dup: bool = False
) -> Message:
    raw = text_ if isinstance(text_, bytes) else text_.encode()
    return Message(topic, raw, clock.now(), packet_id, dup)


def new_pipeline(
    database: Database,
    streams: Streams,
    source: Source = "mqtt",
    notify: Callable[[ChangeSet], None] = ignore,
    record: Callable[[Outcome], None] = ignore,
    *,
    limits: RejectedLimits | None = None,
    recent: RecentDeliveries | None = None,
) -> Pipeline:
    """A pipeline that notifies nobody, unless the test passes listeners."""
    listeners = Listeners(notify, record)
    return pipelines.new_pipeline(
        database, streams, source, listeners, limits=limits, recent=recent
    )
