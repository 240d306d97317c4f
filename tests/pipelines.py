"""Pipelines for the tests, wired as those of a backend."""

from collections.abc import Callable

from broker.notifier import ChangeSet
from database import Database
from ingest.outcome import Outcome
from ingest.pipeline import Listeners, Pipeline, Source
from ingest.redelivery import RecentDeliveries
from ingest.rejected import RejectedLimits
from streams.registry import Streams
from tests.support import ignore
from wiring import pipelines


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
