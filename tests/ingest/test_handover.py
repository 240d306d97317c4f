"""A client id that others may know is replaced, and nothing that waits or comes meanwhile is lost or stored twice."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import text, update

import queries.installation
from broker.sessions import MARKERS
from config import Settings
from database import Database
from ingest import duties, handover, turn
from ingest.ingester import Ingester
from ingest.sessions import SessionMemory
from ingest.turn import Turn
from models import Installation
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import Mosquitto, publishing, wait_for

OLD = "autoforge-0123456789ab"
WAITING = 1_000
Make = Callable[..., Settings]
Numbers = Iterator[int]


@pytest.fixture
def sqlite(sqlite: Database) -> Database:
    """A database with a client id that was served before."""
    with sqlite.write() as connection, sqlite.transaction(connection):
        connection.execute(update(Installation).values(retired_client_id=OLD))
    return sqlite


@pytest.fixture
def place(settings: Make, mosquitto: Mosquitto, request: pytest.FixtureRequest) -> Settings:
    version = getattr(request, "param", "3.1.1")
    return settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol=version)


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
def on_and_on(port: int, numbers: Numbers) -> Iterator[None]:
    """Somebody who publishes all the while."""
    stop = threading.Event()

    def run() -> None:
        with publishing(port) as publish:
            while not stop.wait(0.001):
                publish("panel/one/volt", str(next(numbers)))

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join(30)


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


@pytest.mark.parametrize("place", ["3.1.1", "5"], indirect=True)
def test_nothing_is_lost_or_stored_twice_while_a_served_client_id_is_replaced(
    place: Settings, mosquitto: Mosquitto, sqlite: Database, streams: Streams
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    with on_and_on(mosquitto.port, numbers), ingesting(place, sqlite, streams):
        wait_for(lambda: is_through(sqlite), what="the handover")
        time.sleep(0.2)
    with ingesting(place, sqlite, streams):
        all_stored_once(sqlite, numbers)
    assert not session_is_there(mosquitto.port, OLD)
    assert session_is_there(mosquitto.port, installation(sqlite).client_id)


class Killed(BaseException):
    """The process ends here."""


STEPS = {
    "once the new session is open": (turn, "open_beside", True),
    "before it is noted that the old one is empty": (SessionMemory, "drained", False),
    "after it is noted that the old one is empty": (SessionMemory, "drained", True),
    "before the new session begins": (SessionMemory, "begun", False),
    "after the new session has begun": (SessionMemory, "begun", True),
    "once the old session is ended": (duties, "end", True),
    "once the end of the old session is noted": (SessionMemory, "ended", True),
}


@contextlib.contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: str) -> Iterator[threading.Event]:
    """Meanwhile an ingester dies at this step; the event is set then."""
    owner, name, after = STEPS[step]
    original, killed = getattr(owner, name), threading.Event()

    def die(*arguments: object, **named: object) -> None:
        if after:
            original(*arguments, **named)
        killed.set()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, die)
        yield killed


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handover_that_is_interrupted_goes_on_at_the_next_start(
    place: Settings,
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    with on_and_on(mosquitto.port, numbers):
        with dying(monkeypatch, step) as killed, ingesting(place, sqlite, streams) as ingester:
            assert killed.wait(20)
            ingester._thread.join(20)
        with ingesting(place, sqlite, streams):
            wait_for(lambda: is_through(sqlite), what="the handover")
    with ingesting(place, sqlite, streams):
        all_stored_once(sqlite, numbers)
    assert not session_is_there(mosquitto.port, OLD)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broker_that_is_away_for_long_in_the_midst_of_a_handover_has_nothing_stored_twice(
    place: Settings,
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = itertools.count()
    leave_waiting(mosquitto.port, numbers)
    with (
        on_and_on(mosquitto.port, numbers),
        dying(monkeypatch, "after it is noted that the old one is empty") as killed,
        ingesting(place, sqlite, streams) as ingester,
    ):
        assert killed.wait(20)
        ingester._thread.join(20)
    mosquitto.stop()
    usual, seconds = Turn.tick, threading.Semaphore(0)

    def tick(turn: Turn) -> bool:
        seconds.release()
        return usual(turn)

    with monkeypatch.context() as patched:
        patched.setattr(handover, "HELD_SECONDS", 1)
        patched.setattr(Turn, "tick", tick)
        with ingesting(place, sqlite, streams):
            assert all(seconds.acquire(timeout=20) for _ in range(4))
    mosquitto.start()
    with ingesting(place, sqlite, streams):
        wait_for(lambda: is_through(sqlite), what="the handover")
        all_stored_once(sqlite, numbers)
    assert "has not come" not in caplog.text


def test_what_looks_like_a_marker_after_the_handover_passes_nothing_over(
    place: Settings, mosquitto: Mosquitto, sqlite: Database, streams: Streams
) -> None:
    numbers = itertools.count()
    with ingesting(place, sqlite, streams):
        wait_for(lambda: is_through(sqlite), what="the handover")
    with publishing(mosquitto.port) as publish:
        for number in itertools.islice(numbers, 10):
            publish("panel/one/volt", str(number))
        publish(MARKERS, "-")
    with ingesting(place, sqlite, streams):
        all_stored_once(sqlite, numbers)
