"""What `deploy/` ships for the broker: its configuration in the compose file, and the list of who may do what."""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion

from streams.declaration import Streams
from tests.support import PROJECT, Backend, Mosquitto, free_port, missing, payload, wait_for

DEPLOY = PROJECT / "deploy"


def test_the_broker_is_told_where_the_access_list_goes() -> None:
    assert "acl_file /etc/mosquitto/acl " in (DEPLOY / "mosquitto.conf").read_text()
    assert "acl_file /etc/mosquitto/acl." in (DEPLOY / "mosquitto.acl").read_text()


def test_the_broker_of_the_compose_file_wants_a_password(tmp_path: Path) -> None:
    """Runs the broker's command of the compose file with its folder moved and its port closed to the network."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        missing("mosquitto")
    port = free_port()
    script = (
        compose_script().replace("/mosquitto/", f"{tmp_path}/").replace("listener 1883", f"listener {port} 127.0.0.1")
    )
    script = script.replace("chown mosquitto", "true")  # it stays with this user
    (tmp_path / "data").mkdir()
    user = "\nuser root\n" if os.geteuid() == 0 else ""
    (tmp_path / "shipped.conf").write_text((DEPLOY / "mosquitto.conf").read_text() + user)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/bin:/usr/local/sbin",
        "MQTT_USERNAME": "boards",
        "MQTT_PASSWORD": "pw 1",
    }
    with (tmp_path / "log").open("wb") as log:
        broker = subprocess.Popen(["/bin/sh", "-ec", script], env=environment, stdout=log, stderr=log)
    try:
        settings = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(port)}
        wait_for(lambda: simulated(settings, user="boards", password="pw 1") == 0, what="the broker")
        assert simulated(settings) != 0
        assert simulated(settings, user="boards", password="wrong") != 0
    finally:
        broker.terminate()
        broker.wait(10)


def test_the_access_list_has_the_topics_of_all_shipped_streams(streams: Streams) -> None:
    autoforge = (DEPLOY / "mosquitto.acl").read_text().split("user autoforge\n")[1]
    read = re.findall(r"^topic (?:readwrite|read) (\S+)$", autoforge, re.MULTILINE)
    written = re.findall(r"^topic (?:readwrite|write) (\S+)$", autoforge, re.MULTILINE)
    for topic in streams.subscriptions():
        assert [allowed for allowed in read if topic_matches_sub(allowed, topic)], topic
    for stream in streams:
        for topic in (*stream.topic.subscriptions(), *stream.health.topics().values()):
            assert [allowed for allowed in written if topic_matches_sub(allowed, topic)], topic


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with the shipped list of who may do what, for AutoForge and board-1; the password is pw."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        missing("mosquitto_passwd")
    passwords = tmp_path / "passwords"
    passwords.touch()
    for name in ("autoforge", "board-1"):
        subprocess.run([str(program), "-b", str(passwords), name, "pw"], check=True)
    extra = f"allow_anonymous false\npassword_file {passwords}\nacl_file {DEPLOY / 'mosquitto.acl'}"
    broker = Mosquitto(tmp_path / "broker", extra)
    broker.start()
    yield broker
    broker.stop()


def heard_by(broker: Mosquitto, name: str, *topics: str) -> tuple[paho.Client, "queue.Queue[paho.MQTTMessage]"]:
    """A client that is logged in with a name, and what it hears on some topics."""
    heard: queue.Queue[paho.MQTTMessage] = queue.Queue()
    subscribed = threading.Semaphore(0)
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(name, "pw")
    client.on_message = lambda *arguments: heard.put(arguments[2])
    client.on_subscribe = lambda *_: subscribed.release()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for topic in topics:
        client.subscribe(topic, 1)
        assert subscribed.acquire(timeout=10)
    return client, heard


def test_with_the_access_list_a_board_speaks_for_itself_only(tmp_path: Path, listed: Mosquitto) -> None:
    backend = logged_in(tmp_path, listed)
    board, commands = heard_by(listed, "board-1", "control/+/command", "autoforge/#", "sensors/#")
    for device in ("board-2", "board-1"):
        board.publish(f"sensors/{device}/data", payload(), qos=1)
        board.publish(f"status/{device}", "online", qos=1, retain=True)
    wait_for(lambda: told_online(backend), what="the board to be online")
    for device in ("board-2", "board-1"):
        issued = backend.post("/api/control", {"device_id": device, "command": "ping"})[1]
        said = json.dumps({"command_id": issued["command_id"], "status": "succeeded"})
        board.publish(f"control/{device}/ack", said, qos=1)
    assert commands.get(timeout=10).topic == "control/board-1/command"
    assert commands.empty()
    assert backend.get(f"/api/control/{issued['command_id']}?wait=10")[1]["status"] == "succeeded"
    states = {row["device_id"]: row["status"] for row in backend.get("/api/control")[1]["data"]}
    assert states == {"board-1": "succeeded", "board-2": "sent"}
    assert [row["device_id"] for row in backend.get("/api/sensors/devices")[1]["devices"]] == ["board-1"]
    board.disconnect()
    board.loop_stop()
    backend.stop()


def logged_in(folder: Path, broker: Mosquitto) -> Backend:
    """A backend that is healthy, with its login at a broker."""
    login = {"MQTT_USERNAME": "autoforge", "MQTT_PASSWORD": "pw"}
    backend = Backend(folder, None, MQTT_BROKER="127.0.0.1", MQTT_PORT=str(broker.port), **login).start()
    wait_for(backend.ready, what="the backend to be healthy")
    return backend


def told_online(backend: Backend) -> bool:
    """Whether some device is online."""
    return any(device["online"] for device in backend.get("/api/sensors/devices")[1]["devices"])


def test_with_the_access_list_the_processes_of_autoforge_hear_each_other(tmp_path: Path, listed: Mosquitto) -> None:
    other, notices = heard_by(listed, "autoforge", "autoforge/+/notices")
    backend = logged_in(tmp_path, listed)
    backend.post("/api/sensors/readings", payload(device_id="board-1").encode())
    wait_for(lambda: b'"readings"' in notices.get(timeout=10).payload, what="the notice")
    other.disconnect()
    other.loop_stop()
    backend.stop()


def compose_script() -> str:
    text = (DEPLOY / "compose.yaml").read_text()
    body = text.split("      - |\n", 1)[1].split("    ports:", 1)[0]
    return re.sub(r"^ {8}", "", body, flags=re.MULTILINE).replace("$$", "$")


def simulated(settings: dict[str, str], user: str = "", password: str = "") -> int:
    """The exit code of a simulated device that publishes once."""
    login = {"MQTT_USERNAME": user, "MQTT_PASSWORD": password} if user else {}
    command = [sys.executable, "-m", "simulators", "--devices", "1", "--count", "1", "--rate", "0"]
    environment = {"PATH": os.environ["PATH"]} | settings | login
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=False).returncode
