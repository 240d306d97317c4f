"""`flask end-session`: what waits in the session of another client id is stored once, and the session is ended."""

import itertools
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, create_engine, text, update

from broker.message import Message
from config import PROJECT, Settings
from database import Database, Unavailable
from ingest import ending
from ingest.outcome import Outcome
from ingest.redelivery import Unrecorded
from models import Installation
from routes import command_line
from streams.registry import Streams
from tests.handover import OLD, WAITING, leave_waiting, session_is_there, stored
from tests.live import at_broker, serving
from tests.pipelines import new_pipeline
from tests.support import BackendProcess, Mosquitto, publishing, wait_for
from utils import clock

pytestmark = pytest.mark.long


def end_session(environment: dict[str, str], client_id: str) -> tuple[int, str]:
    """The exit code, and what is said."""
    command = [sys.executable, "-m", "flask", "end-session", client_id]
    run = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, (run.stderr if run.returncode else run.stdout).strip().splitlines()[-1]


def received(backend: BackendProcess) -> int:
    return int((backend.answers() or {"mqtt": {"received": 0}})["mqtt"]["received"])


def voltages(folder: Path) -> Counter[float]:
    engine = create_engine(f"sqlite:///{folder}/new.db")
    with engine.connect() as connection:
        found = Counter(connection.execute(text("SELECT voltage FROM panels_readings")).scalars())
    engine.dispose()
    return found


@pytest.mark.process
def test_what_waits_for_another_database_is_taken_over_once(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with serving(
        at_broker(tmp_path, mosquitto, DATABASE_URL=f"sqlite:///{tmp_path}/old.db")
    ) as old:
        wait_for(old.ready, what="a healthy backend")
    engine = create_engine(f"sqlite:///{tmp_path}/old.db")
    with engine.connect() as connection:
        client_id = connection.execute(text("SELECT client_id FROM installation")).scalar_one()
    engine.dispose()
    new = at_broker(tmp_path, mosquitto, DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    with publishing(mosquitto.port) as publish:
        for number in range(200):
            publish("panel/p/volt", str(number))
        publish("panel/p/vlot", "1")
        code, said = end_session(new.environment, client_id)
        assert code == 1
        assert "AutoForge has no other session yet: start it first" in said
        with serving(new):
            wait_for(new.ready, what="a healthy backend")
            for number in range(200, 300):
                publish("panel/p/volt", str(number))
            wait_for(lambda: received(new) == 100, what="the new messages")
            code, said = end_session(new.environment, client_id)
            assert (
                said
                == f"201 messages: 200 stored, 0 already known, 1 set aside. The session {client_id} is ended"
            )
            assert code == 0
            publish("panel/p/volt", "300")
            wait_for(lambda: received(new) == 302, what="all messages")
    assert voltages(tmp_path) == Counter(map(float, range(301)))
    assert not session_is_there(mosquitto.port, client_id)


@pytest.mark.process
@pytest.mark.parametrize(
    ("client_id", "sentence"),
    [
        ("elsewhere", "holds no session elsewhere"),
        ("in-use", "in-use is the session that AutoForge uses"),
    ],
)
def test_a_session_that_is_not_there_or_in_use_is_left_alone(
    tmp_path: Path, mosquitto: Mosquitto, client_id: str, sentence: str
) -> None:
    with serving(
        at_broker(
            tmp_path,
            mosquitto,
            MQTT_CLIENT_ID="in-use",
            DATABASE_URL=f"sqlite:///{tmp_path}/new.db",
        )
    ) as backend:
        wait_for(backend.ready, what="a healthy backend")
        code, said = end_session(backend.environment, client_id)
        assert (code, sentence in said) == (1, True), said
        assert backend.ready()


@pytest.mark.process
def test_a_broker_that_is_away_is_named(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(
        at_broker(tmp_path, mosquitto, DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    ) as backend:
        wait_for(backend.ready, what="a healthy backend")
    mosquitto.stop()
    code, said = end_session(backend.environment, "old")
    assert code == 1
    assert f"127.0.0.1:{mosquitto.port} cannot be reached" in said
    assert said.endswith("nothing is ended")


@pytest.mark.parametrize(
    ("client_id", "allowed"),
    [
        ("", "must have 1 to 65,535 bytes, and has 0"),
        ("x" * 70_000, "must have 1 to 65,535 bytes, and has 70,000"),
        ("ü" * 32_768, "must have 1 to 65,535 bytes, and has 65,536"),
        ("a\0b", "must have no character U+0000"),
        ("caf\udce9", "must be UTF-8"),
    ],
    ids=["empty", "too long", "too many bytes", "a null character", "no UTF-8"],
)
def test_an_id_that_mqtt_cannot_carry_is_refused(
    settings: Callable[..., Settings],
    sqlite: Database,
    streams: Streams,
    client_id: str,
    allowed: str,
) -> None:
    at = ending.Target(sqlite, new_pipeline(sqlite, streams))
    command = command_line.end_session(settings(), streams, at)
    result = CliRunner().invoke(command, [client_id])
    told = result.output.strip().splitlines()[-1]
    assert (result.exit_code, told) == (2, f"Error: Invalid value for 'CLIENT_ID': {allowed}")


Ends = Callable[..., Outcome]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that delivers what waits in several parts."""
    made = Mosquitto(tmp_path / "broker")
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text(
        config.read_text().replace("max_inflight_messages 10000", "max_inflight_messages 400")
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def ends(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> Ends:
    """Ends a session in which messages wait, while something happens before the first batches."""
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_client_id="new")
    with sqlite.write() as connection, sqlite.transaction(connection):
        connection.execute(update(Installation).values(session_client_id="new"))
    monkeypatch.setattr(ending, "IDLE_SECONDS", 0.5)
    leave_waiting(mosquitto.port, itertools.count())

    def run(
        happening: Callable[[], object] = clock.now, batches: int = 0, client_id: str = OLD
    ) -> Outcome:
        own = new_pipeline(sqlite, streams, recent=Unrecorded())
        handle, happenings = own.handle, itertools.repeat(happening, batches)

        def faulty(connection: Connection, messages: Sequence[Message]) -> Outcome:
            for happens in itertools.islice(happenings, 1):
                happens()
            return handle(connection, messages)

        monkeypatch.setattr(own, "handle", faulty)
        at = ending.Target(sqlite, own)
        return ending.end_session(place, streams, at, client_id)

    return run


def is_stored_once(database: Database) -> bool:
    return Counter(stored(database)) == Counter(map(float, range(WAITING)))


def fail() -> None:
    raise Unavailable("it is away")


def test_a_session_is_not_ended_before_a_database_that_was_away_has_what_waits(
    ends: Ends, mosquitto: Mosquitto, sqlite: Database
) -> None:
    taken = ends(fail, 3)
    assert (taken.received, is_stored_once(sqlite)) == (WAITING, True)
    assert not session_is_there(mosquitto.port, OLD)


@pytest.mark.parametrize("client_id", ["elsewhere", "else where\n", "x" * 65_000])
def test_a_session_that_the_broker_does_not_have_is_told_in_one_line(
    ends: Ends, client_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(ending.EndError) as told:
        ends(client_id=client_id)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 1_500
    assert "Subscribed to  at" not in caplog.text


def test_a_session_is_not_ended_while_storing_takes_long(
    ends: Ends, mosquitto: Mosquitto, sqlite: Database
) -> None:
    taken = ends(partial(threading.Event().wait, 1.2), 100)
    assert (taken.received, is_stored_once(sqlite)) == (WAITING, True)
    assert not session_is_there(mosquitto.port, OLD)


def test_a_session_is_not_ended_while_the_broker_is_away(
    ends: Ends, mosquitto: Mosquitto, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = itertools.count(1)
    usual = ending.Ending.may_connect

    def may_connect(receiver: ending.Ending) -> bool:
        if next(attempts) == 4:
            mosquitto.start()
        return usual(receiver)

    monkeypatch.setattr(ending.Ending, "may_connect", may_connect)
    ends(mosquitto.stop, 1)
    assert is_stored_once(sqlite)
    assert not session_is_there(mosquitto.port, OLD)


def test_a_database_that_stays_away_ends_nothing(
    ends: Ends, mosquitto: Mosquitto, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "REACH_SECONDS", 2.0)
    with pytest.raises(ending.EndError) as told:
        ends(fail, 100)
    assert re.fullmatch(
        r"\d+ messages wait for the database: it is away: nothing is ended", str(told.value)
    )
    assert session_is_there(mosquitto.port, OLD)
    assert (ends().received, is_stored_once(sqlite)) == (WAITING, True)


def test_a_broker_that_does_not_answer_any_more_ends_nothing(
    ends: Ends, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "REACH_SECONDS", 2.0)
    with pytest.raises(ending.EndError) as told:
        ends(partial(mosquitto.process.send_signal, signal.SIGSTOP), 1)
    mosquitto.process.send_signal(signal.SIGCONT)
    assert str(told.value) == f"mqtt://127.0.0.1:{mosquitto.port} does not answer: nothing is ended"
    assert session_is_there(mosquitto.port, OLD)
    ends()
    assert not session_is_there(mosquitto.port, OLD)
