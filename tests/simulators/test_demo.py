"""`make demo` shows readings of every system, with nothing but Python, beside whatever else runs here."""

import io
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from simulators.console import Console
from tests.support import BackendProcess, Mosquitto, connected_client, wait_for
from tests.terminal import Terminal

SUMMARY = r"^{stream}: published (\d+), acknowledged \1, invalid 0$"
STREAMS = ("sensors", "machines", "panels", "soil")
RUNNING = "AutoForge is running"


def demo(folder: Path, **environment: str) -> BackendProcess:
    """A demo in a folder; what it leaves in the folder for temporary files is seen."""
    (folder / "tmp").mkdir(parents=True)
    made = BackendProcess(
        folder, [sys.executable, "-m", "simulators.demo"], TMPDIR=str(folder / "tmp"), **environment
    )
    made.environment.pop("LOG_FILE")
    return made


@contextmanager
def running(made: BackendProcess) -> Iterator[str]:
    """What a demo has printed when it runs; its port is the one that it prints."""
    made.start(wait=False)
    process = made.process
    assert process is not None
    try:
        wait_for(
            lambda: "optimal-ranges" in made.console.read_text() or process.poll() is not None, 60
        )
        said = made.console.read_text()
        made.port = int(re.findall(r"http://localhost:(\d+)/api/docs", said)[-1])
        yield said
    finally:
        if process.poll() is None:
            made.stop()


def refused(made: BackendProcess) -> str:
    """What a demo says that cannot run."""
    made.start(wait=False)
    assert made.process is not None
    assert made.process.wait(60) == 1
    said = made.console.read_text()
    assert RUNNING not in said
    assert "Traceback" not in said
    assert not left_by(made)
    return said


def left_by(made: BackendProcess) -> list[str]:
    """The files in its folders, besides what it has printed, and the processes that it has started."""
    files = [
        str(file) for file in made.folder.rglob("*") if file.is_file() and file != made.console
    ]
    return files + [str(pid) for pid in processes_of(made)]


def processes_of(made: BackendProcess) -> dict[int, str]:
    """The command lines of the processes that have its environment, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if str(made.folder).encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                )
    return found


@pytest.mark.broker
@pytest.mark.process
def test_the_demo_has_devices_of_every_system_and_every_address_that_it_prints_answers(
    tmp_path: Path,
) -> None:
    made = demo(tmp_path / "demo")
    with running(made):
        addresses = re.findall(
            rf"http://localhost:{made.port}(/\S+?)'?$", made.console.read_text(), re.MULTILINE
        )
        addresses = [path for path in addresses if path != "/api/docs"]
        assert len(set(addresses)) == 10
        for path in addresses:
            assert made.get(path)[0] == 200, path
        wait_for(lambda: [devices(made, stream) for stream in STREAMS] == [3, 2, 1, 1])
        wait_for(lambda: made.get("/api/mqtt/last-values")[1].keys() >= {"power", "energy_cost"})
        assert made.get("/api/health")[1]["mqtt"]["rejected"] == 0
        assert made.stop(signal.SIGINT) == 0
    said = made.console.read_text()
    assert all(
        re.search(SUMMARY.format(stream=stream), said, re.MULTILINE) for stream in STREAMS
    ), said
    assert "Traceback" not in said
    assert not left_by(made)


def devices(made: BackendProcess, stream: str) -> int:
    """How many have sent something."""
    count: int = made.get(f"/api/{stream}/devices")[1]["count"]
    return count


@pytest.mark.process
def test_two_demos_run_side_by_side_and_touch_no_other_broker(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    strange = {"MQTT_BROKER": "127.0.0.1", "MQTT_USERNAME": "me", "MQTT_PASSWORD": "wrong"}
    one, two = demo(tmp_path / "one", **strange), demo(tmp_path / "two", **strange)
    heard: list[str] = []
    client = connected_client(mosquitto.port)
    client.on_message = lambda _client, _data, message: heard.append(message.topic)
    client.subscribe("#")
    for made in (one, two):
        del made.environment["FLASK_PORT"]
        made.environment["MQTT_BROKER"] = f"127.0.0.1:{mosquitto.port}"
    with running(one), running(two):
        assert one.port != two.port
        told = [made.get("/api/health")[1]["mqtt"] for made in (one, two)]
        assert [mqtt["subscribed"] for mqtt in told] == [True, True]
        assert told[0]["broker"] != told[1]["broker"]
        assert str(mosquitto.port) not in f"{told}"
        assert one.stop() == two.stop() == 0
    client.disconnect()
    client.loop_stop()
    assert not heard
    assert not left_by(one) + left_by(two)


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("variable", ["FLASK_PORT", "MQTT_PORT"])
def test_a_port_that_was_asked_for_and_is_taken_is_exit_code_1(
    variable: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(demo(tmp_path / "demo", **{variable: str(port)}))
    (line,) = said.splitlines()
    assert line.startswith(f"{variable}={port}: ")
    assert "address already in use" in line.lower()


@pytest.mark.broker
@pytest.mark.process
def test_a_bad_setting_is_exit_code_1(tmp_path: Path) -> None:
    assert (
        refused(demo(tmp_path / "demo", FLASK_ENV="x"))
        == "FLASK_ENV=x: should be 'development' or 'production'\n"
    )


@pytest.mark.broker
@pytest.mark.process
def test_a_backend_that_cannot_run_is_exit_code_1_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(demo(tmp_path / "demo", STREAMS_DIR=str(tmp_path / "empty")))
    assert "no stream is declared here" in said
    assert said.endswith("The backend has ended with exit code 1; the lines above say why\n")


@pytest.mark.broker
@pytest.mark.process
def test_ctrl_c_ends_it_within_seconds_also_while_it_starts(tmp_path: Path) -> None:
    made = demo(tmp_path / "demo")
    made.start(wait=False)
    wait_for(made.console.read_text)
    assert made.stop(signal.SIGINT) == 0
    assert RUNNING not in made.console.read_text()
    assert not left_by(made)


@pytest.mark.broker
@pytest.mark.process
def test_a_part_that_ends_by_itself_ends_the_rest_with_exit_code_1(tmp_path: Path) -> None:
    made = demo(tmp_path / "demo")
    with running(made):
        assert made.process is not None
        (simulator,) = (
            pid for pid, command in processes_of(made).items() if "--stream soil" in command
        )
        os.kill(simulator, signal.SIGKILL)
        assert made.process.wait(60) == 1
    assert (
        "The simulator of soil has ended with exit code -9; the lines above say why"
        in made.console.read_text()
    )
    assert not left_by(made)


def test_on_a_terminal_there_is_one_line_that_renews_itself_below_what_is_said() -> None:
    console = Console(out := Terminal())
    console.show("1 reading")
    console.show("2 readings")
    console.print("soil: a line")
    console.show("")
    clear = "\r\x1b[K"
    assert (
        out.getvalue() == f"{clear}1 reading{clear}2 readings{clear}soil: a line\n2 readings{clear}"
    )


def test_a_line_that_is_too_long_for_the_terminal_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    console = Console(out := Terminal())
    console.show("x" * 50)
    assert out.getvalue() == "\r\x1b[K" + "x" * 19


def test_elsewhere_there_is_no_such_line() -> None:
    console = Console(out := io.StringIO())
    console.show("1 reading")
    console.print("soil: a line")
    assert out.getvalue() == "soil: a line\n"
