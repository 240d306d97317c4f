"""An ingester that is subscribed, and what it has received and set aside."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import RowMapping

import queries.ingest_status
import queries.installation
import queries.rejected
from config import Settings
from database import Database
from ingest.ingester import Ingester
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import wait_for
from utils import clock


@contextlib.contextmanager
def ingesting(place: Settings, database: Database, streams: Streams) -> Iterator[None]:
    """An ingester that is subscribed."""
    ingester = Ingester(place, database, streams, new_pipeline(database, streams))
    since = clock.now()
    ingester.start()
    wait_for(lambda: is_subscribed(database, since), what="the subscription")
    yield
    ingester.stop()


def is_subscribed(database: Database, since: datetime) -> bool:
    with database.read() as reader:
        now = queries.ingest_status.ingest_status(reader)["mqtt"]
    return bool(now.subscribed and now.heartbeat_at and now.heartbeat_at >= since)


def aside(database: Database) -> Sequence[RowMapping]:
    """What was set aside as of an unknown topic."""
    with database.read() as reader:
        return queries.rejected.page(reader, {"reason": "unknown_topic"}, 10, 0)


def received(database: Database) -> int:
    with database.read() as reader:
        return queries.ingest_status.ingest_status(reader)["mqtt"].received


def wait_received(database: Database, count: int) -> None:
    wait_for(lambda: received(database) >= count, what="the messages")
