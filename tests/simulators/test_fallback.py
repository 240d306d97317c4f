"""When the broker is away, simulated boards try three times, then post their readings, and lose or double none."""

import http.server
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from iotcore import Broker

from config import PROJECT, load_settings
from simulators import fleet as fleets
from simulators.backend import BackendClient
from simulators.device import devices
from simulators.fleet import Fleet
from streams.declaration import load
from tests.live import at_broker, serving
from tests.support import DEVICE_TOPICS, Mosquitto, free_port, ignore, wait_for
from tests.support import BackendProcess as Server

STREAMS = load(PROJECT / "streams", {}, DEVICE_TOPICS)
Start = Callable[..., "Simulator"]
BOARDS = ("ESP32_001", "ESP32_002", "ESP32_003")


class Simulator:
    """`python -m simulators` as a process of its own, for a backend and its broker."""

    def __init__(self, server: Server, folder: Path, *arguments: str) -> None:
        place = {key: server.environment[key] for key in ("MQTT_BROKER", "MQTT_PORT", "FLASK_PORT")}
        self._notes = folder / "notes.txt"
        command = [sys.executable, "-W", "error", "-m", "simulators", *arguments]
        with self._notes.open("wb") as notes:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env={**os.environ, **place},
                stdout=subprocess.PIPE,
                stderr=notes,
                text=True,
            )

    @property
    def notes(self) -> str:
        """What it has said so far."""
        return self._notes.read_text()

    def expect(self, *words: str) -> None:
        wait_for(
            lambda: all(word in self.notes for word in words), what=f"{words} in {self._notes}"
        )

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def counts(self, code: int = 0) -> dict[str, int]:
        """What the last line counts, once it has ended with this exit code."""
        out, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == code, (out, self.notes)
        return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", out)}

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def server(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Server]:
    """A subscribed backend at a Mosquitto of its own."""
    with serving(at_broker(tmp_path / "backend", mosquitto)) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Start]:
    simulators: list[Simulator] = []

    def _start(*arguments: str) -> Simulator:
        simulators.append(Simulator(server, tmp_path, *arguments))
        return simulators[-1]

    yield _start
    for simulator in simulators:
        simulator.kill()


def stored(server: Server, board: str = "") -> list[datetime]:
    """The times of all stored readings of a board, or of all, newest first."""
    which = f"&device_id={board}" if board else ""
    status, answer = server.get(f"/api/sensors/history?limit=10000{which}")
    assert status == 200
    return [datetime.fromisoformat(row["timestamp"]) for row in answer["data"]]


def expect_every_reading_once(server: Server, measured: int, interval: float) -> None:
    """Each board's readings follow each other at its interval: none is missing, and none is there twice."""
    wait_for(lambda: len(stored(server)) >= measured, what=f"{measured} readings")
    of_boards = [stored(server, board) for board in BOARDS]
    assert sum(map(len, of_boards)) == len(stored(server)) == measured
    for times in of_boards:
        gaps = [(later - earlier).total_seconds() for later, earlier in pairwise(times)]
        assert gaps == pytest.approx([interval] * (len(times) - 1), abs=0.002)


# The whole way, with a real broker and a real backend


@pytest.mark.process
def test_readings_go_over_http_while_the_broker_is_away_and_each_is_stored_once(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30", "--count", "600")
    wait_for(lambda: len(stored(server)) > 30)
    mosquitto.stop()
    simulator.expect("the broker is away (Connection refused): readings go to http://127.0.0.1:")
    before = len(stored(server))
    wait_for(lambda: len(stored(server)) > before + 30)
    mosquitto.start()
    counts = simulator.counts()
    assert counts["published"] == counts["acknowledged"] > 100
    assert counts["posted"] > 100
    assert counts["acknowledged"] + counts["posted"] == 600
    expect_every_reading_once(server, 600, interval=0.1)
    assert re.fullmatch(
        r"the broker is away \(.*\), reconnecting\n"
        r"the broker is away \(Connection refused\): readings go to http://127.0.0.1:\d+ over HTTP\n"
        r"the broker is back\n",
        simulator.notes,
    )


@pytest.mark.process
def test_a_broker_that_is_back_before_three_attempts_gets_what_was_measured_meanwhile(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30", "--count", "180")
    wait_for(lambda: len(stored(server)) > 10)
    mosquitto.stop()
    simulator.expect("reconnecting")
    mosquitto.start()
    assert simulator.counts() == {"published": 180, "acknowledged": 180, "invalid": 0}
    expect_every_reading_once(server, 180, interval=0.1)


@pytest.mark.process
def test_a_count_that_is_reached_while_the_broker_is_away_is_complete(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30", "--count", "120")
    wait_for(lambda: len(stored(server)) > 10)
    mosquitto.stop()
    counts = simulator.counts()
    assert counts["acknowledged"] + counts["posted"] == 120
    expect_every_reading_once(server, 120, interval=0.1)


@pytest.mark.process
def test_a_run_that_is_ended_while_the_broker_is_away_is_complete(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30")
    wait_for(lambda: len(stored(server)) > 10)
    mosquitto.stop()
    simulator.expect("reconnecting")
    time.sleep(0.5)  # it measures, and nothing outside tells so
    simulator.end()
    counts = simulator.counts()
    assert counts["posted"] > 5
    expect_every_reading_once(server, counts["acknowledged"] + counts["posted"], interval=0.1)


@pytest.mark.process
def test_a_run_that_is_ended_with_neither_broker_nor_backend_says_how_many_are_lost(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30")
    wait_for(lambda: len(stored(server)) > 10)
    server.stop()
    mosquitto.stop()
    simulator.expect("over HTTP", "is away (Connection refused), trying again")
    simulator.end()
    counts = simulator.counts(code=1)
    assert counts["undelivered"] > 30
    assert "posted" not in counts


@pytest.mark.process
def test_readings_wait_for_a_backend_that_is_away_too(
    start: Start, server: Server, mosquitto: Mosquitto
) -> None:
    simulator = start("--devices", "3", "--rate", "30", "--count", "300")
    wait_for(lambda: len(stored(server)) > 10)
    mosquitto.stop()
    server.stop(signal.SIGKILL)
    simulator.expect("over HTTP", "is away (Connection refused), trying again")
    server.start()
    counts = simulator.counts()
    assert counts["acknowledged"] + counts["posted"] == 300
    mosquitto.start()  # it keeps what it has acknowledged and the backend had not stored when it was killed
    expect_every_reading_once(server, 300, interval=0.1)


@pytest.mark.process
@pytest.mark.parametrize("stream", [stream.name for stream in STREAMS if stream.metrics])
def test_without_a_broker_from_the_start_every_stream_goes_over_http(
    start: Start, server: Server, mosquitto: Mosquitto, stream: str
) -> None:
    mosquitto.stop()
    simulator = start(
        "--stream", stream, "--devices", "2", "--rate", "0", "--count", "2500", "--invalid", "2%"
    )
    counts = simulator.counts()
    assert (counts["published"], counts["acknowledged"], counts["posted"]) == (0, 0, 2500)
    assert counts["invalid"] > 10
    found = server.get(f"/api/{stream}/stats")[1]["stats"]["count"]
    assert found == 2500 - counts["invalid"]
    assert {
        device["device_id"] for device in server.get(f"/api/{stream}/devices")[1]["devices"]
    } == {device.device_id for device in devices(STREAMS[stream], 2, 1)}


# A fleet in this process


def at(port: int, url: str, rate: float = 0.0, note: Callable[[str], None] = ignore) -> Fleet:
    """A fleet of three boards that has begun."""
    settings = load_settings(mqtt_broker="127.0.0.1", mqtt_port=port)
    fleet = Fleet(settings, devices(STREAMS["sensors"], 3, 1), rate, BackendClient(url), note)
    fleet.connect()
    turn(fleet, lambda: fleet.online == 3)
    fleet.start()
    return fleet


def turn(fleet: Fleet, until: Callable[[], object]) -> None:
    """Let it work until something is so; pytest's time limit is the end of patience."""
    while not until():
        fleet.turn(0.05)


def run(fleet: Fleet, until: Callable[[], object]) -> None:
    """Let it measure, too, until something is so."""
    while not until():
        fleet.measure(100)
        fleet.turn(min(fleet.wait(), 0.05))


@pytest.mark.broker
@pytest.mark.process
def test_a_restart_of_a_broker_that_keeps_nothing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "backend").mkdir()
    server = Server(tmp_path / "backend", None, MQTT_BROKER="127.0.0.1", MQTT_PORT=str(port))
    with serving(server):
        with Broker(port=port, listen="127.0.0.1"):
            wait_for(server.ready)
            fleet = at(port, f"http://127.0.0.1:{server.port}", rate=30)
            run(fleet, lambda: fleet.tally.acknowledged > 30)
            turn(fleet, lambda: fleet.tally.outstanding == 0)
            # This broker keeps nothing over a restart: what it has acknowledged must have arrived.
            wait_for(lambda: len(stored(server)) == fleet.tally.measured)
        run(fleet, lambda: fleet.tally.posted > 30)
        published = fleet.tally.published
        with Broker(port=port, listen="127.0.0.1"):
            wait_for(partial(_subscribed, server), what="the subscription")
            run(fleet, lambda: fleet.tally.published > published + 30)
            turn(fleet, lambda: fleet.tally.outstanding == 0)
            assert fleet.tally.acknowledged == fleet.tally.published
            wait_for(lambda: len(stored(server)) >= fleet.tally.measured)
            assert len(stored(server)) == len(set(stored(server))) == fleet.tally.measured
            fleet.close()


@pytest.mark.process
def test_what_the_broker_has_not_acknowledged_at_the_end_is_posted_and_its_repetition_changes_nothing(
    server: Server, mosquitto: Mosquitto
) -> None:
    fleet = at(mosquitto.port, f"http://127.0.0.1:{server.port}")
    assert mosquitto._process is not None
    mosquitto._process.send_signal(signal.SIGSTOP)
    fleet.measure(100)
    mosquitto.stop(signal.SIGKILL)
    turn(fleet, lambda: fleet.online == 0)
    assert (fleet.tally.published, fleet.tally.acknowledged) == (100, 0)
    fleet.post_rest()
    turn(fleet, lambda: fleet.tally.outstanding == 0)
    assert (fleet.tally.posted, fleet.tally.complete, len(stored(server))) == (100, True, 100)
    mosquitto.start()
    turn(fleet, lambda: fleet.online == 3)
    wait_for(lambda: (server.answers() or {})["mqtt"]["duplicate"] >= 100)
    assert (len(stored(server)), fleet.tally.acknowledged) == (100, 0)
    fleet.close()


def test_offline_boards_measure_until_so_many_readings_wait(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "MOST_HELD", 50)
    notes: list[str] = []
    fleet = at(mosquitto.port, "http://127.0.0.1:1", rate=1000, note=notes.append)
    mosquitto.stop(signal.SIGKILL)
    turn(fleet, lambda: fleet.online == 0)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        fleet.measure(100)
        fleet.turn(0.01)
    assert fleet.tally.held == 50
    assert notes == ["50 readings are waiting: offline boards stop measuring until there is room"]
    mosquitto.start()
    turn(fleet, lambda: fleet.online == 3 and fleet.tally.outstanding == 0)
    assert fleet.tally.acknowledged == fleet.tally.measured == 50
    fleet.close()


@pytest.mark.process
def test_without_a_limit_boards_wait_for_the_broker_and_then_go_as_fast_as_the_backend_takes(
    server: Server, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "MOST_HELD", 100)
    fleet = at(mosquitto.port, f"http://127.0.0.1:{server.port}", note=pytest.fail)
    mosquitto.stop(signal.SIGKILL)
    turn(fleet, lambda: fleet.online == 0)
    fleet.measure(1000)
    assert fleet.tally.measured == 0
    turn(fleet, lambda: fleet.over_http)
    fleet.measure(1000)
    assert 100 <= fleet.tally.measured < 1000
    turn(fleet, lambda: fleet.tally.outstanding == 0)
    assert fleet.tally.posted == fleet.tally.measured == len(stored(server))
    fleet.close()


@pytest.mark.process
def test_a_broker_that_accepts_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr("broker.dialer._ANSWER_SECONDS", 0.2)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        settings = load_settings(mqtt_broker="127.0.0.1", mqtt_port=silent.server_port)
        fleet = Fleet(
            settings,
            devices(STREAMS["sensors"], 1, 1),
            0,
            BackendClient(f"http://127.0.0.1:{server.port}"),
            ignore,
        )
        fleet.connect()
        assert (fleet.over_http, fleet.error) == (True, "no answer within 0 s")
        fleet.close()


def _subscribed(server: Server) -> bool:
    """Whether it ingests; that the broker forgot its session degrades its health for a day."""
    return bool((server.answers() or {}).get("mqtt", {}).get("subscribed"))
