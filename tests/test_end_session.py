"""`flask end-session`: what waits in the session of another client id is stored once, and the session is ended."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from config import PROJECT
from tests.live import at_broker, serving
from tests.support import Backend, Mosquitto, publishing, wait_for
from tests.test_handover import session_is_there


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


def received(backend: Backend) -> int:
    return int((backend.answers() or {"mqtt": {"received": 0}})["mqtt"]["received"])


def voltages(folder: Path) -> Counter[float]:
    engine = create_engine(f"sqlite:///{folder}/new.db")
    with engine.connect() as connection:
        found = Counter(connection.execute(text("SELECT voltage FROM panels_readings")).scalars())
    engine.dispose()
    return found


def test_what_waits_for_another_database_is_taken_over_once(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with serving(at_broker(tmp_path, mosquitto, DATABASE_URL=f"sqlite:///{tmp_path}/old.db")) as old:
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
            assert said == f"201 messages: 200 stored, 0 known already, 1 set aside. The session {client_id} is ended"
            assert code == 0
            publish("panel/p/volt", "300")
            wait_for(lambda: received(new) == 302, what="all messages")
    assert voltages(tmp_path) == Counter(map(float, range(301)))
    assert not session_is_there(mosquitto.port, client_id)


@pytest.mark.parametrize(
    ("client_id", "sentence"),
    [("elsewhere", "holds no session elsewhere"), ("in-use", "in-use is the session that AutoForge uses")],
)
def test_a_session_that_is_not_there_or_in_use_is_left_alone(
    tmp_path: Path, mosquitto: Mosquitto, client_id: str, sentence: str
) -> None:
    with serving(
        at_broker(tmp_path, mosquitto, MQTT_CLIENT_ID="in-use", DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    ) as backend:
        wait_for(backend.ready, what="a healthy backend")
        code, said = end_session(backend.environment, client_id)
        assert (code, sentence in said) == (1, True), said
        assert backend.ready()


def test_a_broker_that_is_away_is_named(tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(at_broker(tmp_path, mosquitto, DATABASE_URL=f"sqlite:///{tmp_path}/new.db")) as backend:
        wait_for(backend.ready, what="a healthy backend")
    mosquitto.stop()
    code, said = end_session(backend.environment, "old")
    assert code == 1
    assert f"127.0.0.1:{mosquitto.port} cannot be reached" in said
    assert said.endswith("nothing is ended")
