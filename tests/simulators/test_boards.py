"""Simulated boards at a real broker: they say that they are there, and obey commands."""

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from paho.mqtt import client as paho

from tests.brokers import RealBroker, each_broker, each_broker_and_version
from tests.support import Mosquitto, connected_client, free_port, wait_for
from utils import clock

pytestmark = pytest.mark.process

Start = Callable[..., "subprocess.Popen[str]"]
FINAL = {"succeeded", "failed", "rejected"}
HEARD = [(topic, 1) for topic in ("sensors/+/data", "status/+", "control/+/ack", "did/+/ack")]
"""What a backend subscribes to."""


class Desk:
    """Where a backend would sit: it sends commands, and hears what the boards say."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self.client = connected_client(port)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(HEARD)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.subscribe(HEARD)
        assert subscribed.wait(10)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload), message.retain))

    def send(self, board: str, payload: bytes) -> None:
        self.client.publish(f"control/{board}/command", payload, qos=1).wait_for_publish(10)

    def command(
        self,
        board: str,
        name: str,
        parameters: dict[str, object] | None = None,
        lasts: float = 30,
        given: str = "",
    ) -> str:
        """Send a command that lasts so many seconds, with the given id or a new one; its id."""
        issued, command_id = clock.now(), given or uuid.uuid4().hex
        body = {
            "command_id": command_id,
            "command": name,
            "parameters": parameters or {},
            "issued_at": clock.rfc3339(issued),
            "expires_at": clock.rfc3339(issued + timedelta(seconds=lasts)),
        }
        self.send(board, json.dumps(body).encode())
        return command_id

    def answers(self, command_id: str) -> list[dict[str, Any]]:
        bodies = [json.loads(payload) for topic, payload, _ in self.heard if topic.endswith("/ack")]
        return [body for body in bodies if body["command_id"] == command_id]

    def answer(self, command_id: str) -> dict[str, Any]:
        """The final answer to a command."""
        return wait_for(
            lambda: [a for a in self.answers(command_id) if a["status"] in FINAL], what="an answer"
        )[-1]

    def do(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        return self.answer(self.command(*arguments, **named))

    def presence(self, board: str) -> list[bytes]:
        return [payload for topic, payload, _ in self.heard if topic == f"status/{board}"]

    def expect(self, board: str, *states: bytes) -> None:
        wait_for(lambda: self.presence(board) == list(states), what=f"{board} to be {states}")

    def readings(self, board: str) -> int:
        return sum(topic == f"sensors/{board}/data" for topic, _, _ in self.heard)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def desk(real_broker: RealBroker) -> Iterator[Desk]:
    desk = Desk(real_broker.port)
    yield desk
    desk.close()


@pytest.fixture
def start(real_broker: RealBroker, spawn: Start) -> Start:
    def _start(*arguments: str, limit: str = "true", **environment: str) -> "subprocess.Popen[str]":
        simulators = shlex.join([sys.executable, "-W", "error", "-m", "simulators", *arguments])
        command = ["/bin/sh", "-c", f"{limit} && exec {simulators}"]
        place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(real_broker.port)}
        return spawn(command, {**place, **environment})

    return _start


def ended(process: "subprocess.Popen[str]") -> str:
    """End a simulator in order; what it said on stderr."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    return err


# Presence


@each_broker
def test_every_board_announces_itself_and_whoever_comes_later_is_told(
    start: Start, desk: Desk, real_broker: RealBroker
) -> None:
    start("--devices", "2")
    desk.expect("ESP32_001", b"online")
    desk.expect("ESP32_002", b"online")
    late = Desk(real_broker.port)
    late.expect("ESP32_001", b"online")
    assert [retained for topic, _, retained in late.heard if topic == "status/ESP32_001"] == [True]
    late.close()


@each_broker
def test_a_board_that_is_killed_is_announced_offline(
    start: Start, desk: Desk, real_broker: RealBroker
) -> None:
    process = start("--devices", "2")
    desk.expect("ESP32_002", b"online")
    process.kill()
    desk.expect("ESP32_001", b"online", b"offline")
    desk.expect("ESP32_002", b"online", b"offline")
    late = Desk(real_broker.port)
    late.expect("ESP32_002", b"offline")
    late.close()


@each_broker_and_version
def test_a_board_that_ends_says_goodbye_itself(start: Start, desk: Desk, version: str) -> None:
    process = start("--devices", "2", MQTT_PROTOCOL=version)
    desk.expect("ESP32_002", b"online")
    assert ended(process) == ""
    desk.expect("ESP32_001", b"online", b"offline")
    desk.expect("ESP32_002", b"online", b"offline")


def test_a_run_with_a_count_ends_offline_too(start: Start, desk: Desk) -> None:
    start("--count", "20", "--rate", "0").communicate(timeout=10)
    desk.expect("ESP32_003", b"online", b"offline")
    assert [desk.readings(f"ESP32_00{number}") for number in (1, 2, 3)] == [7, 7, 6]


@each_broker
def test_after_a_broker_restart_the_boards_are_online_again_and_obey(
    start: Start, desk: Desk, real_broker: RealBroker
) -> None:
    process = start("--devices", "3")
    desk.expect("ESP32_003", b"online")
    real_broker.stop(signal.SIGKILL)
    desk.heard.clear()
    real_broker.start()
    wait_for(
        lambda: all(desk.presence(f"ESP32_00{number}")[-1:] == [b"online"] for number in (1, 2, 3))
    )
    wait_for(desk.client.is_connected)
    assert desk.do("ESP32_002", "ping")["status"] == "succeeded"
    assert (
        ended(process)
        == "the broker is away (the connection was lost), reconnecting\nthe broker is back\n"
    )


def test_two_simulators_of_the_same_boards_leave_each_other_alone(start: Start, desk: Desk) -> None:
    start("--devices", "1", "--rate", "20")
    desk.expect("ESP32_001", b"online")
    start("--devices", "1", "--rate", "20")
    desk.expect("ESP32_001", b"online", b"online")
    desk.heard.clear()
    wait_for(lambda: desk.readings("ESP32_001") > 40)
    assert desk.presence("ESP32_001") == []


# Commands


def test_ping_is_answered_with_the_uptime(start: Start, desk: Desk) -> None:
    started = time.monotonic()
    start()
    desk.expect("ESP32_002", b"online")
    answer = desk.do("ESP32_002", "ping")
    assert answer["status"] == "succeeded"
    assert answer["result"]["pong"] is True
    assert 0 < answer["result"]["uptime"] < time.monotonic() - started


def test_set_interval_changes_how_often_that_board_measures(start: Start, desk: Desk) -> None:
    start("--devices", "2", "--rate", "2")
    desk.expect("ESP32_002", b"online")
    answer = desk.do("ESP32_001", "set_interval", {"seconds": 0.05})
    assert (answer["status"], answer["result"]) == ("succeeded", {"seconds": 0.05})
    before = desk.readings("ESP32_002")
    fast = desk.readings("ESP32_001")
    wait_for(lambda: desk.readings("ESP32_001") - fast >= 40)
    assert desk.readings("ESP32_002") - before <= 5


@each_broker
def test_a_restart_goes_offline_and_comes_back_with_the_usual_interval(
    start: Start, desk: Desk
) -> None:
    start("--devices", "2", "--rate", "40")
    desk.expect("ESP32_002", b"online")
    desk.do("ESP32_001", "set_interval", {"seconds": 3600})
    wait_for(lambda: desk.do("ESP32_001", "ping")["result"]["uptime"] > 0.5)
    restart = desk.command("ESP32_001", "restart")
    assert desk.answer(restart)["status"] == "succeeded"
    assert [answer["status"] for answer in desk.answers(restart)] == ["in_progress", "succeeded"]
    desk.expect("ESP32_001", b"online", b"offline", b"online")
    assert desk.do("ESP32_001", "ping")["result"]["uptime"] < 0.5
    before = desk.readings("ESP32_001")
    wait_for(lambda: desk.readings("ESP32_001") >= before + 10)
    assert desk.presence("ESP32_002") == [b"online"]


def test_a_board_measures_and_obeys_until_its_delayed_restart(start: Start, desk: Desk) -> None:
    start("--devices", "1", "--rate", "50")
    desk.expect("ESP32_001", b"online")
    restart = desk.command("ESP32_001", "restart", {"delay_seconds": 0.7})
    wait_for(lambda: desk.answers(restart))
    before = desk.readings("ESP32_001")
    wait_for(lambda: desk.readings("ESP32_001") > before + 10)
    assert desk.do("ESP32_001", "restart")["reason"] == "a restart is already under way"
    assert desk.presence("ESP32_001") == [b"online"]
    assert desk.answer(restart)["status"] == "succeeded"
    desk.expect("ESP32_001", b"online", b"offline", b"online")


def test_a_restart_loses_no_reading(start: Start, desk: Desk) -> None:
    process = start("--devices", "2", "--rate", "0", "--count", "30000")
    desk.expect("ESP32_002", b"online")
    assert desk.do("ESP32_001", "restart")["status"] == "succeeded"
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("published 30000, acknowledged 30000, invalid 0\n", "")


def test_an_unknown_command_is_rejected_with_those_that_are_known(start: Start, desk: Desk) -> None:
    start()
    desk.expect("ESP32_001", b"online")
    answer = desk.do("ESP32_001", "explode")
    assert (answer["status"], answer["reason"]) == (
        "rejected",
        'unknown command "explode"; known are ping, restart, set_interval',
    )


def test_an_expired_command_is_not_executed(start: Start, desk: Desk) -> None:
    start()
    desk.expect("ESP32_001", b"online")
    answer = desk.do("ESP32_001", "restart", lasts=-1)
    assert answer["status"] == "rejected"
    assert answer["reason"].startswith("expired at ")
    assert desk.do("ESP32_001", "ping")["status"] == "succeeded"
    assert desk.presence("ESP32_001") == [b"online"]


def test_what_is_no_command_is_ignored_with_one_line(start: Start, desk: Desk) -> None:
    process = start()
    desk.expect("ESP32_001", b"online")
    desk.send("ESP32_001", b"\xc3\x28 restart!")
    assert desk.do("ESP32_001", "ping")["status"] == "succeeded"
    assert ended(process) == "ESP32_001: ignored a command that cannot be read: not JSON\n"


@each_broker
def test_a_command_that_is_delivered_again_gets_the_same_answer_and_is_not_executed_again(
    start: Start, desk: Desk
) -> None:
    start()
    desk.expect("ESP32_001", b"online")
    first = desk.do("ESP32_001", "ping", given="p")
    restart = desk.command("ESP32_001", "restart", given="r")
    desk.answer(restart)
    desk.command("ESP32_001", "ping", given="p")
    desk.command("ESP32_001", "restart", lasts=-1, given="r")
    assert wait_for(lambda: desk.answers("p")[1:]) == [first]
    wait_for(lambda: len(desk.answers("r")) == 3)
    assert [answer["status"] for answer in desk.answers("r")] == [
        "in_progress",
        "succeeded",
        "succeeded",
    ]
    assert desk.presence("ESP32_001") == [b"online", b"offline", b"online"]


def test_a_command_is_answered_at_once_also_at_full_speed(start: Start, desk: Desk) -> None:
    start("--rate", "0")
    wait_for(lambda: desk.readings("ESP32_001") > 100)
    assert desk.do("ESP32_001", "ping")["status"] == "succeeded"
    assert desk.do("ESP32_001", "set_interval", {"seconds": 0.05})["status"] == "succeeded"


# Elsewhere


def test_boards_of_another_stream_have_presence_and_commands_too(
    start: Start, desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "panel.toml").write_text(
        'topic = "panel/{device_id}/{metric}"\n[metrics.voltage]\n'
    )
    start(
        "--stream",
        "panel",
        STREAMS_DIR=str(tmp_path),
        CONTROL_TOPIC="do/{device_id}",
        ACK_TOPIC="did/+/ack",
    )
    desk.expect("panel_003", b"online")
    body = {"command_id": "1", "command": "ping", "parameters": {}}
    desk.client.publish("do/panel_003", json.dumps(body), qos=1)
    assert desk.answer("1")["status"] == "succeeded"
    assert [topic for topic, _, _ in desk.heard if topic.endswith("/ack")] == ["did/panel_003/ack"]


@pytest.fixture(params=["mqtts", "ws", "wss"])
def other_listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A Mosquitto's plain port, and the URL of one that asks for TLS or WebSockets; its authority is `ca.pem`."""
    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true"]
    if request.param in ("ws", "wss"):
        lines.append("protocol websockets")
    if request.param in ("mqtts", "wss"):
        lines += [f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.pem"]
    server = Mosquitto(tmp_path / "server", "\n".join(lines))
    server.start()
    yield server.port, f"{request.param}://localhost:{port}"
    server.stop()


def test_a_board_works_over_tls_and_websockets(
    start: Start, other_listener: tuple[int, str], tmp_path: Path
) -> None:
    plain, url = other_listener
    desk = Desk(plain)
    process = start("--rate", "0", MQTT_BROKER=url, MQTT_CA_CERT=str(tmp_path / "ca.pem"))
    wait_for(lambda: desk.readings("ESP32_003") > 1000)
    assert desk.do("ESP32_003", "restart")["status"] == "succeeded"
    desk.expect("ESP32_003", b"online", b"offline", b"online")
    assert ended(process) == ""
    desk.expect("ESP32_003", b"online", b"offline", b"online", b"offline")
    desk.close()


def test_a_thousand_boards_are_online_at_once_and_every_one_obeys(start: Start, desk: Desk) -> None:
    process = start("--devices", "1000", "--rate", "100", limit="ulimit -Sn 256")
    boards = [f"ESP32_{number:03d}" for number in range(1, 1001)]
    wait_for(lambda: sum(payload == b"online" for _, payload, _ in desk.heard) == 1000, seconds=60)
    commands = [desk.command(board, "ping") for board in boards]
    assert {
        desk.answer(command)["status"] for command in (commands[0], commands[499], commands[999])
    } == {"succeeded"}
    wait_for(lambda: sum(topic.endswith("/ack") for topic, _, _ in desk.heard) == 1000)
    assert ended(process) == ""
    wait_for(lambda: sum(payload == b"offline" for _, payload, _ in desk.heard) == 1000)


def test_more_boards_than_this_machine_allows_are_refused_with_the_number(start: Start) -> None:
    process = start("--devices", "300", limit="ulimit -n 256")
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 2)
    assert err == "--devices 300: needs 350 open files, and this machine allows 256\n"
