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
from functools import partial
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion

from broker.sessions import MARKERS
from services import broker_access
from streams.registry import Streams
from tests.support import PROJECT, BackendProcess, Mosquitto, free_port, missing, payload, wait_for

DEPLOY = PROJECT / "deploy"


def test_the_broker_is_told_where_the_access_list_goes() -> None:
    assert "acl_file /etc/mosquitto/acl " in (DEPLOY / "mosquitto.conf").read_text()
    assert "acl_file /etc/mosquitto/acl." in (DEPLOY / "mosquitto.acl").read_text()


@pytest.mark.broker
@pytest.mark.process
def test_the_broker_of_the_compose_file_wants_a_password(tmp_path: Path) -> None:
    """Runs the broker's command of the compose file with its folder moved and its port closed to the network."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        missing("mosquitto")
    port, own_port = free_port(), free_port()
    script = (
        compose_script()
        .replace("/mosquitto/", f"{tmp_path}/")
        .replace(r"listener \1", r"listener \1 127.0.0.1")
    )
    script = script.replace("chown mosquitto", "true")  # it stays with this user
    (tmp_path / "data").mkdir()
    user = "\nuser root\n" if os.geteuid() == 0 else ""
    shipped = (DEPLOY / "mosquitto.conf").read_text()
    shipped = shipped.replace("listener 1883 ", f"listener {port} ").replace(
        "listener 1884 ", f"listener {own_port} "
    )
    (tmp_path / "shipped.conf").write_text(shipped + user)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/bin:/usr/local/sbin",
        "MQTT_USERNAME": "boards",
        "MQTT_PASSWORD": "pw 1",
    }
    with (tmp_path / "log").open("wb") as log:
        broker = subprocess.Popen(
            ["/bin/sh", "-ec", script], env=environment, stdout=log, stderr=log
        )
    try:
        for listener in (port, own_port):
            settings = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(listener)}
            wait_for(partial(in_with, settings, "pw 1"), what="the broker")
            assert simulated(settings) != 0
            assert not in_with(settings, "wrong")
    finally:
        broker.terminate()
        broker.wait(10)


def in_with(settings: dict[str, str], password: str) -> bool:
    return simulated(settings, user="boards", password=password) == 0


def test_in_the_compose_file_autoforge_has_a_listener_that_devices_do_not_reach() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    published = re.findall(r"^      - (?:[\d.]+:)?(\d+):\d+$", text, re.MULTILINE)
    assert "MQTT_PORT: 1884\n" in text
    assert published == ["5000", "5001", "1883"]


@pytest.mark.broker
@pytest.mark.process
def test_a_device_cannot_take_over_the_session_of_the_ingester(tmp_path: Path) -> None:
    """Also not while AutoForge is away, and not by a device that knows the client id."""
    broker = Mosquitto(tmp_path / "broker", bound(tmp_path))
    broker.start()
    place = {
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(broker.own_port),
        "MQTT_CLIENT_ID": "the-ingester",
    }
    backend = BackendProcess(tmp_path, None, **place).start()
    wait_for(backend.ready, what="the backend to be healthy")
    board, _ = heard_by(broker, "board-1")
    for number in range(300):
        if number == 100:
            backend.stop()
        if number == 200:
            backend.start()
        if number % 20 == 0:
            take_over(broker, "board-2", "the-ingester")
        board.publish("sensors/board-1/data", payload(temperature=number), qos=1).wait_for_publish(
            10
        )
    wait_for(
        lambda: (backend.answers() or {"mqtt": {"stored": 0}})["mqtt"]["stored"] == 300,
        60,
        "all readings",
    )
    wait_for(backend.ready, what="a health that tells of nothing")
    board.disconnect()
    board.loop_stop()
    backend.stop()
    broker.stop()


def bound(folder: Path) -> str:
    """What mosquitto.conf says in its comments for devices that have a login each."""
    text = (DEPLOY / "mosquitto.conf").read_text().split("listener 1884 127.0.0.1")[1]
    lines = re.findall(r"^#   ((?:allow|password|acl|use)_\S+ \S+)", text, re.MULTILINE)
    assert [line.split()[0] for line in lines] == [
        "allow_anonymous",
        "password_file",
        "acl_file",
        "use_username_as_clientid",
    ]
    return (
        "\n".join(lines)
        .replace("/etc/mosquitto/passwd", str(passwords(folder)))
        .replace("/etc/mosquitto/acl", str(DEPLOY / "mosquitto.acl"))
    )


def take_over(broker: Mosquitto, name: str, client_id: str) -> None:
    """Connect with a clean session and somebody else's client id."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id)
    client.username_pw_set(name, "pw")
    client.connect("127.0.0.1", broker.port)
    wait_for(lambda: client.loop(0.1) == 0 and client.is_connected(), what="the connection")
    client.disconnect()


def test_the_shipped_access_list_is_what_flask_acl_prints(streams: Streams) -> None:
    assert (DEPLOY / "mosquitto.acl").read_text() == broker_access.mosquitto(streams, "autoforge")


@pytest.mark.process
def test_the_access_list_of_other_streams_names_theirs(tmp_path: Path) -> None:
    (tmp_path / "doors.toml").write_text('topic = "site/{device_id}/{metric}"\n[metrics.open]\n')
    (tmp_path / "gates.toml").write_text('topic = "gates"\ndevice = "gate"\n[metrics.open]\n')
    command = [sys.executable, "-m", "flask", "acl", "--user", "backend"]
    environment = {"PATH": os.environ["PATH"], "STREAMS_DIR": str(tmp_path), "CATCH_ALL_TOPIC": "#"}
    environment |= {"ACK_TOPIC": "acks/+"}
    run = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in run.stdout.splitlines() if line and not line.startswith("#")]
    assert lines == [
        "user backend",
        "topic readwrite site/+/+",
        "topic readwrite gates",
        "topic read acks/+",
        "topic read status/+",
        "topic read #",
        "topic write control/+/command",
        "topic readwrite autoforge/+/notices",
        "pattern write site/%u/+",
        "pattern write status/%u",
        "pattern write acks/%u",
        "pattern read control/%u/command",
        "pattern write gates",
    ]
    assert "The topics of gates contain no device id" in run.stdout
    assert (
        run.stderr
        == "Any device can publish for any other on the topics of gates: they contain no device id\n"
    )


@pytest.mark.broker
@pytest.mark.process
def test_the_commands_for_dynamic_security_leave_a_board_its_own_topics(
    tmp_path: Path, streams: Streams
) -> None:
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    control = shutil.which("mosquitto_ctrl") or ""
    if plugin is None or not control:
        missing("mosquitto_ctrl and its plugin")
    rules = tmp_path / "rules.json"
    subprocess.run(
        [control, "dynsec", "init", str(rules), "admin", "pw"], check=True, capture_output=True
    )
    extra = f"allow_anonymous false\nplugin {plugin}\nplugin_opt_config_file {rules}"
    broker = Mosquitto(tmp_path / "broker", extra)
    broker.start()
    ctrl = f"{control} -h 127.0.0.1 -p {broker.port} -u admin -P pw dynsec"
    environment = {"PATH": os.environ["PATH"], "CTRL": ctrl, "AUTOFORGE_PASSWORD": "pw"}
    environment |= {"DEVICE": "board-1", "DEVICE_PASSWORD": "pw"}
    script = broker_access.dynamic_security(streams, "autoforge")
    done = subprocess.run(
        ["/bin/sh", "-eu"],
        input=script,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "rror" not in done.stderr, "it only warns that it is not encrypted"
    backend = logged_in(tmp_path, broker)
    board = paho.Client(CallbackAPIVersion.VERSION2, "board-1")
    board.username_pw_set("board-1", "pw")
    board.connect("127.0.0.1", broker.port)
    board.loop_start()
    for device in ("board-2", "board-1"):
        board.publish(f"sensors/{device}/data", payload(), qos=1).wait_for_publish(10)
    wait_for(lambda: backend.get("/api/sensors/devices")[1]["devices"], what="the reading")
    assert [row["device_id"] for row in backend.get("/api/sensors/devices")[1]["devices"]] == [
        "board-1"
    ]
    board.disconnect()
    board.loop_stop()
    backend.stop()
    broker.stop()


def test_the_access_list_has_the_topics_of_all_shipped_streams(streams: Streams) -> None:
    autoforge = (DEPLOY / "mosquitto.acl").read_text().split("user autoforge\n")[1]
    read = re.findall(r"^topic (?:readwrite|read) (\S+)$", autoforge, re.MULTILINE)
    written = re.findall(r"^topic (?:readwrite|write) (\S+)$", autoforge, re.MULTILINE)
    for topic in (*streams.subscriptions(), *streams.filters, MARKERS):
        assert [allowed for allowed in read if topic_matches_sub(allowed, topic)], topic
    for stream in streams:
        for topic in (*stream.topic.subscriptions(), *stream.health.topics().values()):
            assert [allowed for allowed in written if topic_matches_sub(allowed, topic)], topic


def passwords(folder: Path) -> Path:
    """A file with the passwords of AutoForge and two boards."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        missing("mosquitto_passwd")
    file = folder / "passwords"
    file.touch()
    for name in ("autoforge", "board-1", "board-2"):
        subprocess.run([str(program), "-b", str(file), name, "pw"], check=True)
    return file


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with the shipped list of who may do what, for AutoForge and board-1; the password is pw."""
    extra = f"allow_anonymous false\npassword_file {passwords(tmp_path)}\nacl_file {DEPLOY / 'mosquitto.acl'}"
    broker = Mosquitto(tmp_path / "broker", extra)
    broker.start()
    yield broker
    broker.stop()


def heard_by(
    broker: Mosquitto, name: str, *topics: str
) -> tuple[paho.Client, "queue.Queue[paho.MQTTMessage]"]:
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


@pytest.mark.broker
@pytest.mark.process
def test_with_the_access_list_a_board_speaks_for_itself_only(
    tmp_path: Path, listed: Mosquitto
) -> None:
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
    assert [row["device_id"] for row in backend.get("/api/sensors/devices")[1]["devices"]] == [
        "board-1"
    ]
    board.disconnect()
    board.loop_stop()
    backend.stop()


def logged_in(folder: Path, broker: Mosquitto) -> BackendProcess:
    """A backend that is healthy, with its login at a broker."""
    login = {"MQTT_USERNAME": "autoforge", "MQTT_PASSWORD": "pw"}
    backend = BackendProcess(
        folder, None, MQTT_BROKER="127.0.0.1", MQTT_PORT=str(broker.port), **login
    ).start()
    wait_for(backend.ready, what="the backend to be healthy")
    return backend


def told_online(backend: BackendProcess) -> bool:
    """Whether some device is online."""
    return any(device["online"] for device in backend.get("/api/sensors/devices")[1]["devices"])


@pytest.mark.broker
@pytest.mark.process
def test_with_the_access_list_the_processes_of_autoforge_hear_each_other(
    tmp_path: Path, listed: Mosquitto
) -> None:
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
    # No backend that happens to run on this machine may take what the broker refuses.
    command += ["--url", f"http://127.0.0.1:{free_port()}"]
    environment = {"PATH": os.environ["PATH"]} | settings | login
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, check=False
    ).returncode
