"""A session of an earlier client id at the broker, and an ingester that takes over from it."""

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import text

import queries.installation
from config import Settings
from database import Database
from ingest.ingester import Ingester
from models import Installation
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import publishing, wait_for

OLD = "autoforge-0123456789ab"
WAITING = 1_000
Numbers = Iterator[int]


def installation(database: Database) -> Installation:
    with database.read() as reader:
        return queries.installation.installation(reader)


def leave_waiting(port: int, numbers: Numbers) -> None:
    """Messages without a time of their own that wait in the session of the old client id."""
    client = paho.Client(CallbackAPIVersion.VERSION2, OLD, clean_session=False)
    granted = threading.Event()
    client.on_subscribe = lambda *_: granted.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("panel/+/volt", 1)
    assert granted.wait(10)
    client.disconnect()
    client.loop_stop()
    with publishing(port, wait=False) as publish:
        for number in itertools.islice(numbers, WAITING):
            publish("panel/one/volt", str(number))


@contextlib.contextmanager
def ingesting(place: Settings, database: Database, streams: Streams) -> Iterator[Ingester]:
    ingester = Ingester(place, database, streams, new_pipeline(database, streams))
    ingester.start()
    yield ingester
    ingester.stop()


def stored(database: Database) -> list[float]:
    table = database.tables["panels"].name
    with database.read() as reader:
        return list(reader.execute(text(f"SELECT voltage FROM {table} ORDER BY id")).scalars())


def is_through(database: Database) -> bool:
    """Whether the new session is the only one, and has begun."""
    now = installation(database)
    return (
        now.retired_client_id is None
        and now.handover == "-"
        and now.session_client_id == now.client_id
    )


def all_stored_once(database: Database, numbers: Numbers) -> None:
    count = next(numbers)
    wait_for(lambda: len(stored(database)) >= count, what="the messages")
    assert Counter(stored(database)) == Counter(map(float, range(count)))


def session_is_there(port: int, client_id: str) -> bool:
    """Whether the broker keeps a session for a client id."""
    said: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    client.on_connect = lambda *arguments: said.append(arguments[2].session_present)
    client.connect("127.0.0.1", port)
    wait_for(lambda: client.loop(0.1) == 0 and said)
    client.disconnect()
    return said[0]
