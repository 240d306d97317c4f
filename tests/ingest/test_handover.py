"""A client id that others may know is replaced, and nothing that waits or comes meanwhile is lost or stored twice."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update

from broker.sessions import MARKERS
from config import Settings
from database import Database
from ingest import duties, handover, turn
from ingest.sessions import SessionMemory
from ingest.turn import Turn
from models import Installation
from streams.registry import Streams
from tests.handover import (
    OLD,
    Numbers,
    all_stored_once,
    ingesting,
    installation,
    is_through,
    leave_waiting,
    session_is_there,
)
from tests.support import Mosquitto, publishing, wait_for

pytestmark = pytest.mark.long

Make = Callable[..., Settings]


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
