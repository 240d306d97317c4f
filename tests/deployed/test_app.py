"""`python app.py`, `python -m ingest` and `make demo` as a user starts and ends them."""

import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from tests.support import (
    PROJECT,
    BackendProcess,
    Mosquitto,
    free_port,
    payload,
    publishing,
    wait_for,
)


def run(folder: Path, *command: str, **environment: str) -> BackendProcess:
    place = {"MQTT_PORT": str(free_port()), "DATABASE_URL": f"sqlite:///{folder}/test.db"}
    return BackendProcess(folder, [sys.executable, *command], **{**place, **environment})


def ended(backend: BackendProcess) -> tuple[int, list[str]]:
    """The exit code and the lines of a backend that cannot start."""
    assert backend.start(wait=False).process is not None
    code = backend.process.wait(30) if backend.process else 0
    return code, backend.console.read_text().splitlines()


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_brings_a_broker_and_a_database_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    backend = run(tmp_path, str(PROJECT / "app.py")).start()
    wait_for(backend.ready)
    with publishing(int(backend.environment["MQTT_PORT"])) as publish:
        publish("sensors/ESP32_001/data", payload())
    wait_for(lambda: backend.get("/api/sensors/latest?device_id=ESP32_001")[0] == 200)
    assert backend.stop(number) == 0
    assert "Traceback" not in backend.console.read_text()
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", int(backend.environment["MQTT_PORT"]))),
    ):
        pass


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    "command", [(str(PROJECT / "app.py"),), ("-m", "ingest")], ids=["app.py", "ingest"]
)
def test_it_ends_however_many_signals_come_at_once(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    # `timeout` signals its child and then the whole group; systemd and a terminal may do the same.
    backend = run(tmp_path, *command).start(wait="ingest" not in command)
    wait_for(lambda: "Subscribed to" in backend.console.read_text(), what="the subscription")
    assert backend.process is not None
    # They come faster than they are handled, and until the very end.
    while backend.process.poll() is None:
        backend.process.send_signal(signal.SIGTERM)
    assert backend.process.returncode == 0
    assert "Traceback" not in backend.console.read_text()


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    "command", [(str(PROJECT / "app.py"),), ("-m", "ingest")], ids=["app.py", "ingest"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_while_it_waits_for_the_database(
    tmp_path: Path, command: tuple[str, ...], number: int
) -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/x"
    backend = run(tmp_path, *command, DATABASE_URL=url).start(wait=False)
    wait_for(
        lambda: "Waiting for the database" in backend.console.read_text(), what="the first attempt"
    )
    before = time.monotonic()
    assert backend.stop(number) == 0
    assert time.monotonic() - before < 8, "it waits for ten seconds"
    lines = backend.console.read_text().splitlines()
    assert "Stopping" in lines[-1]
    assert "Traceback" not in "".join(lines)


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_it_ends_soon_while_the_server_of_the_database_is_silent(
    tmp_path: Path, kind: str, silent: int
) -> None:
    url = f"{kind}://me@127.0.0.1:{silent}/x"
    backend = run(tmp_path, str(PROJECT / "app.py"), DATABASE_URL=url).start(wait=False)
    wait_for(lambda: "Waiting for the database" in backend.console.read_text(), seconds=30)
    # Into the next attempt, which nothing can interrupt.
    time.sleep(1.5)
    before = time.monotonic()
    assert backend.stop() == 0
    assert time.monotonic() - before < 8, "an attempt takes five seconds"
    assert "Traceback" not in backend.console.read_text()


@pytest.mark.process
def test_it_uses_a_broker_that_is_there_and_says_so(tmp_path: Path, mosquitto: Mosquitto) -> None:
    backend = run(tmp_path, str(PROJECT / "app.py"), MQTT_PORT=str(mosquitto.port)).start()
    wait_for(backend.ready)
    assert "A broker already answers at mqtt://127.0.0.1:" in backend.console.read_text()
    assert backend.stop() == 0


@pytest.mark.broker
@pytest.mark.process
def test_a_taken_web_port_is_one_line_naming_the_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, lines = ended(run(tmp_path, str(PROJECT / "app.py"), FLASK_PORT=port))
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"FLASK_PORT={port}: ")


@pytest.mark.broker
@pytest.mark.process
def test_a_broker_port_taken_by_something_else_is_one_line_naming_the_variable(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, lines = ended(run(tmp_path, str(PROJECT / "app.py"), MQTT_PORT=port))
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"MQTT_PORT={port}: ")


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MQTT_PORT", "99999"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "oracle://x"),
        ("STREAMS_DIR", "/nowhere"),
        ("FLASK_HOST", "192.0.2.1"),
        ("FLASK_HOST", "no-such-host.invalid"),
        ("EMBEDDED_BROKER_HOST", "192.0.2.1"),
        ("EMBEDDED_BROKER_HOST", "2001:db8::1"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line(
    tmp_path: Path, variable: str, value: str
) -> None:
    code, lines = ended(run(tmp_path, str(PROJECT / "app.py"), **{variable: value}))
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(variable)


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        [str(PROJECT / "app.py")],
        ["-m", "ingest"],
        ["-m", "flask", "--app", "app", "verify"],
        ["-m", "gunicorn", "-c", str(PROJECT / "gunicorn.conf.py"), "app:app"],
    ],
    ids=["app.py", "ingest", "flask", "gunicorn"],
)
def test_a_parameter_of_the_database_that_no_driver_takes_stops_every_program(
    tmp_path: Path, command: list[str]
) -> None:
    url = "postgresql://127.0.0.1/x?sslmode=bogus"
    code, lines = ended(run(tmp_path, *command, DATABASE_URL=url))
    assert code == 1
    assert lines[-1].removeprefix("Error: ").startswith("DATABASE_URL: the parameter sslmode")
    assert "Traceback" not in "".join(lines)


@pytest.mark.process
def test_ingest_alone_stores_what_the_web_processes_serve(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(mosquitto.port)}
    ingester = run(tmp_path, "-m", "ingest", **place).start(wait=False)
    wait_for(lambda: "Subscribed" in ingester.console.read_text())
    with publishing(mosquitto.port) as publish:
        publish("sensors/ESP32_001/data", payload())
    database = sqlite3.connect(tmp_path / "test.db")
    wait_for(lambda: database.execute("SELECT count(*) FROM sensor_readings").fetchone() == (1,))
    database.close()
    assert ingester.stop() == 0
