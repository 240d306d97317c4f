"""The embedded broker: what it has acknowledged outlives its own death and that of AutoForge."""

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker import embedded
from broker.embedded import EmbeddedBroker, EmbeddedBrokerError
from broker.store import ANYBODY, USER, Options, Store
from config import Settings, SettingsError
from tests.support import PROJECT, Mosquitto, connected_client, free_port, publishing, wait_for

TOPICS = (
    "sensors/a/data",
    "/leading/slash",
    "$aws/things/pump4/shadow",
    "v1.6/devices/a",
    "küche/a",
    "a//b",
    "a.b/c",
)
CANNOT = "The connection of a client was ended: "


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "test.db.broker")


@pytest.fixture
def broker(store: Store) -> Iterator[EmbeddedBroker]:
    with running(store) as made:
        yield made


@contextlib.contextmanager
def running(
    store: Store, port: int = 0, login: tuple[str, str] | None = None, max_mb: int = 100
) -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker(Options("127.0.0.1", port or free_port(), max_mb, login), store)
    made.start()
    yield made
    made.stop()


class Session:
    """A client with a persistent session, by default AutoForge's own; what it received, in order."""

    def __init__(
        self, store: Store, port: int, client_id: str = "session", login: bool = True, **kind: Any
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.answers: list[str] = []
        self.subscribed = False
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, **(kind or {"clean_session": False})
        )
        if login:
            client.username_pw_set(USER, store.password())
        client.on_connect = lambda _, __, ___, reason, ____: self.answers.append(str(reason))
        client.on_subscribe = lambda _, __, ___, codes, ____: setattr(
            self, "subscribed", codes[0].value == 1
        )
        client.on_message = lambda _, __, message: self.received.append(
            (message.topic, bytes(message.payload))
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        wait_for(lambda: self.answers, what="the answer to CONNECT")

    def subscribe(self, topic_filter: str) -> None:
        self.subscribed = False
        self._client.subscribe(topic_filter, qos=1)
        wait_for(lambda: self.subscribed, what="the subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def session(*arguments: Any, **named: Any) -> Iterator[Session]:
    with contextlib.closing(Session(*arguments, **named)) as made:
        yield made


def server(store: Store) -> psutil.Process:
    return psutil.Process(int(store.pid_file.read_text()))


def server_after(killed: psutil.Process, store: Store) -> psutil.Process | None:
    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
        return None if server(store) == killed else server(store)
    return None


def begin_session(store: Store, port: int) -> None:
    """Have AutoForge's session keep everything, while it is away."""
    with session(store, port) as made:
        made.subscribe("#")


def publish(port: int, count: int) -> list[bytes]:
    """Publish this many messages; return once the broker has acknowledged them all."""
    payloads = [str(number).encode() for number in range(count)]
    with publishing(port, wait=False) as send:
        for payload in payloads:
            send("sensors/a/data", payload)
    return payloads


@pytest.mark.process
def test_nobody_gets_in_before_there_is_a_session_that_keeps_what_is_published(
    broker: EmbeddedBroker, store: Store
) -> None:
    with session(store, broker.port, "device", login=False) as refused:
        assert refused.answers[0] == "Not authorized"
    begin_session(store, broker.port)
    store.admit()
    store.admit()
    wait_for(lambda: is_admitted(store, broker.port), what="the broker to let devices in")
    sent = publish(broker.port, 3)
    with session(store, broker.port) as ours:
        wait_for(
            lambda: [payload for _, payload in ours.received] == sent,
            what="what was published meanwhile",
        )


def is_admitted(store: Store, port: int) -> bool:
    with session(store, port, "device", login=False) as device:
        return device.answers == ["Success"]


@pytest.fixture
def admitted(broker: EmbeddedBroker, store: Store) -> int:
    """The port of a broker that keeps everything for AutoForge's session."""
    begin_session(store, broker.port)
    store.admit()
    wait_for(lambda: is_admitted(store, broker.port), what="the broker to let devices in")
    return broker.port


@pytest.mark.process
@pytest.mark.parametrize("topic", TOPICS)
def test_topics_of_all_kinds_arrive_as_they_are(topic: str, admitted: int, store: Store) -> None:
    with session(store, admitted, "other") as ours, publishing(admitted) as send:
        ours.subscribe(topic.replace("a", "+") if topic == "a//b" else topic)
        send(topic, b"1")
        wait_for(lambda: ours.received == [(topic, b"1")], what="the message")


@pytest.mark.process
def test_what_it_acknowledged_survives_its_own_death_and_it_comes_back(
    admitted: int, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    sent = publish(admitted, 500)
    with publishing(admitted) as send:
        send("status/a", "online", retain=True)
    killed = server(store)
    killed.kill()
    wait_for(lambda: server_after(killed, store), what="another process")
    wait_for(lambda: answers(admitted), what="the broker to answer again")
    with session(store, admitted) as ours:
        wait_for(lambda: len(ours.received) >= 501, what="all that was acknowledged")
        assert [payload for topic, payload in ours.received if topic == "sensors/a/data"] == sent
    assert is_admitted(store, admitted), "it is as open as it was"
    with session(store, admitted, "new") as other:
        other.subscribe("status/+")
        wait_for(lambda: other.received == [("status/a", b"online")], what="the retained message")
    assert any("ended and is restarted" in message for message in caplog.messages)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.mark.broker
@pytest.mark.process
def test_it_ends_with_the_process_that_started_it_and_the_next_one_finds_what_it_held(
    store: Store,
) -> None:
    port = free_port()
    program = (
        "import time; from pathlib import Path\n"
        "from broker.embedded import EmbeddedBroker; from broker.store import Options, Store\n"
        f"EmbeddedBroker(Options('127.0.0.1', {port}, 100), Store(Path({str(store.folder)!r}))).start()\n"
        "print('ready', flush=True); time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        begin_session(store, port)
        store.admit()
        wait_for(lambda: is_admitted(store, port), what="the broker to let devices in")
        sent = publish(port, 100)
        child = server(store)
        parent.kill()
    child.wait(10)
    with running(store, port), session(store, port) as ours:
        wait_for(
            lambda: [payload for _, payload in ours.received] == sent, what="what was acknowledged"
        )
        assert not is_admitted(store, port), "until there is a session again"


def publish_with_a_space(port: int) -> None:
    with contextlib.suppress(RuntimeError), publishing(port) as send:
        send("zigbee2mqtt/back door", b"1")


def connect_with_mqtt_5(port: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop()
    client.disconnect()


@pytest.mark.process
@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (publish_with_a_space, "it uses a topic with a space"),
        (connect_with_mqtt_5, "it uses MQTT 5"),
    ],
    ids=["space", "mqtt-5"],
)
def test_a_client_that_it_cannot_serve_is_told_in_the_log(
    act: Callable[[int], None], sentence: str, admitted: int, caplog: pytest.LogCaptureFixture
) -> None:
    act(admitted)
    wait_for(
        lambda: any(message.startswith(CANNOT + sentence) for message in caplog.messages),
        what="the sentence",
    )


@pytest.mark.broker
@pytest.mark.process
def test_devices_give_the_login_that_is_asked_of_them(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with running(store, login=("tasmota", "s3cret")) as broker:
        begin_session(store, broker.port)
        store.admit()
        wait_for(
            lambda: connected(broker.port, "tasmota", "s3cret"), what="the broker to let devices in"
        )
        for login in (("tasmota", "wrong"), ("other", "s3cret"), (None, None)):
            assert not connected(broker.port, *login)
        wait_for(
            lambda: any(CANNOT + "its user name" in message for message in caplog.messages),
            what="the line",
        )


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("jörg", "pässwort"),
        ("👍", "👍\ufeff\u2028"),
        ('a"b\\c', "\\x41\"'\\"),
        ("$HOME", "$NOSUCH"),
        ("a#b%c;{}[]", "${HOME}\t\n\r\x07\x7f"),
        ("1k", "true"),
        ("WEBSOCKET", '"WEBSOCKET"'),
        ("include x", "$2a$1x$"),
        (" two words ", "p" * 65_000),
    ],
)
def test_a_login_and_a_folder_of_any_characters_are_those_of_the_settings(
    user: str, password: str, tmp_path: Path
) -> None:
    store = Store(tmp_path / f"{user[:10]}é\udce9" / "test.db.broker")
    with running(store, login=(user, password)) as broker:
        begin_session(store, broker.port)
        store.admit()
        wait_for(
            lambda: connected(broker.port, user, password), what="the broker to let devices in"
        )
        assert store.admits()
        assert not connected(broker.port, user, f"{password[:100]}x")
    assert (store.folder / "jetstream").is_dir()


@pytest.mark.process
def test_a_device_with_a_login_that_nobody_asked_for_is_told_in_the_log(
    admitted: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert not connected(admitted, "DVES_USER", "DVES_PASS")
    wait_for(
        lambda: any('User "DVES_USER"' in message for message in caplog.messages), what="the line"
    )


def connected(port: int, user: str | None, password: str | None) -> bool:
    """Whether a client with this login is accepted."""
    answers: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)
    client.on_connect = lambda _, __, ___, reason, ____: answers.append(not reason.is_failure)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_for(lambda: answers, what="the answer to CONNECT")
    client.disconnect()
    client.loop_stop()
    return answers[0]


@pytest.mark.process
@pytest.mark.parametrize(
    "act", ["PURGE/$MQTT_msgs", "DELETE/$MQTT_msgs", "UPDATE/$MQTT_msgs", "DELETE/$MQTT_sess"]
)
def test_no_device_can_command_the_server(act: str, admitted: int, store: Store) -> None:
    sent = publish(admitted, 3)
    with publishing(admitted, wait=False) as send:
        send(f"$JS/API/STREAM/{act}", "{}", qos=0)
    with session(store, admitted) as ours:
        wait_for(
            lambda: [payload for _, payload in ours.received] == sent,
            what="what was published before",
        )


@pytest.mark.process
@pytest.mark.parametrize("topic_filter", ["$JS/#", "$MQTT/#", "$SYS/#", "$MQTT/sess/#"])
def test_no_device_can_look_into_the_server(topic_filter: str, admitted: int, store: Store) -> None:
    answers: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_subscribe = lambda _, __, ___, codes, ____: answers.append(codes[0].is_failure)
    client.connect("127.0.0.1", admitted)
    client.loop_start()
    wait_for(client.is_connected, what="the connection")
    client.subscribe(topic_filter)
    wait_for(lambda: answers, what="the answer to SUBSCRIBE")
    client.disconnect()
    client.loop_stop()
    assert answers == [True]


@pytest.mark.broker
@pytest.mark.process
def test_a_full_broker_shuts_the_devices_out_until_there_is_room(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with running(store, max_mb=16) as broker:
        begin_session(store, broker.port)
        store.admit()
        wait_for(lambda: is_admitted(store, broker.port), what="the broker to let devices in")
        client = connected_client(broker.port)
        acknowledged: list[int] = []
        client.on_publish = lambda _, __, mid, ___, ____: acknowledged.append(mid)
        for _ in range(60):
            client.publish("sensors/a/data", b"x" * 500_000, qos=1)
        wait_for(
            lambda: any("devices have to wait" in message for message in caplog.messages),
            what="the warning",
        )
        wait_for(lambda: not is_admitted(store, broker.port), what="the door to close")
        held = len(acknowledged)
        with session(store, broker.port) as ours:
            wait_for(lambda: len(ours.received) >= held, what="what was acknowledged")
            wait_for(lambda: len(acknowledged) == 60, seconds=60, what="the rest to be let in")
            wait_for(lambda: len(ours.received) >= 60, what="all of it")
        client.disconnect()
        client.loop_stop()


@pytest.mark.broker
@pytest.mark.process
def test_it_ends_when_it_is_told_to(store: Store) -> None:
    with running(store):
        process = server(store)
    assert not process.is_running()


@pytest.mark.process
def test_two_processes_do_not_run_a_broker_on_one_folder(
    broker: EmbeddedBroker, store: Store
) -> None:
    other = EmbeddedBroker(Options("127.0.0.1", free_port(), 100), store)
    with pytest.raises(EmbeddedBrokerError, match="another process runs the broker of"):
        other.start()


@pytest.mark.broker
@pytest.mark.process
def test_a_port_that_is_taken_is_named(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = EmbeddedBroker(Options("127.0.0.1", port, 100), store)
        with pytest.raises(
            EmbeddedBrokerError, match=f"cannot start: .*{port}.*address already in use"
        ):
            other.start()


@pytest.mark.process
def test_nobody_else_may_read_its_folder(broker: EmbeddedBroker, store: Store) -> None:
    for file in ("password", "broker.conf"):
        assert (store.folder / file).stat().st_mode & 0o077 == 0
    assert store.folder.stat().st_mode & 0o077 == 0


@pytest.mark.process
def test_it_listens_where_it_was_told_to_only(broker: EmbeddedBroker, store: Store) -> None:
    addresses = {
        connection.laddr.ip
        for connection in server(store).net_connections()
        if connection.status == "LISTEN"
    }
    assert addresses == {"127.0.0.1"}


# Whether it is needed


def place(folder: Path, **values: Any) -> Settings:
    return Settings(
        _env_file=None, database_url=f"sqlite:///{folder}/test.db", mqtt_port=free_port(), **values
    )


@pytest.mark.parametrize(
    ("url", "host", "folder", "address"),
    [
        ("sqlite:///sensors.db", "127.0.0.1", "sensors.db.broker", "mqtt://127.0.0.1:1"),
        ("sqlite:///data/my.db?timeout=3", "0.0.0.0", "data/my.db.broker", "mqtt://127.0.0.1:1"),
        ("postgresql://me@db/sensors", "::", "autoforge.broker", "mqtt://[::1]:1"),
        (
            "mysql+pymysql://me@db/sensors",
            "192.168.1.2",
            "autoforge.broker",
            "mqtt://192.168.1.2:1",
        ),
    ],
)
def test_its_folder_stands_beside_the_database_and_autoforge_knows_its_address(
    url: str, host: str, folder: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, database_url=url, mqtt_port=1, embedded_broker_host=host)
    assert (settings.broker_folder, str(settings.broker)) == (tmp_path / folder, address)


@pytest.mark.broker
@pytest.mark.process
def test_a_process_that_starts_at_the_same_time_uses_the_broker_of_the_first(
    tmp_path: Path,
) -> None:
    settings = place(tmp_path)
    with ThreadPoolExecutor() as pool:
        started = list(pool.map(lambda _: embedded.start_if_needed(settings), range(3)))
    (broker,) = [one for one in started if one is not None]
    broker.stop()


@pytest.mark.process
def test_the_login_goes_where_another_broker_has_taken_its_place(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    settings = place(tmp_path)
    first = embedded.start_if_needed(settings)
    assert first is not None
    first.stop()
    store = Store(settings.broker_folder)
    assert store.password() is not None
    assert (
        embedded.start_if_needed(settings.model_copy(update={"mqtt_port": mosquitto.port})) is None
    )
    assert store.password() is None


@pytest.mark.broker
def test_none_is_started_for_a_broker_that_is_named(tmp_path: Path) -> None:
    assert embedded.start_if_needed(place(tmp_path, mqtt_broker="127.0.0.1")) is None


@pytest.mark.broker
def test_mqtt_5_needs_another_broker(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MQTT_PROTOCOL=5: the embedded broker speaks"):
        embedded.start_if_needed(place(tmp_path, mqtt_protocol="5"))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("user", "password", "told"),
    [
        (USER, "x", f"MQTT_USERNAME={USER}: the embedded broker uses this name itself; .+"),
        (ANYBODY, "x", f"MQTT_USERNAME={ANYBODY}: the embedded broker uses this name itself; .+"),
        (
            "a",
            "$2a$10$abcdefghijklmnopqrstuv",
            r"MQTT_PASSWORD: must not begin with \$2a\$10\$, .+",
        ),
        ("a", "$2y$31$", r"MQTT_PASSWORD: must not begin with \$2y\$31\$, .+ bcrypt .+"),
    ],
)
def test_a_login_that_the_server_would_take_for_another_is_one_line(
    user: str, password: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        embedded.start_if_needed(place(tmp_path, mqtt_username=user, mqtt_password=password))
    assert re.fullmatch(told, str(refused.value))


@pytest.mark.broker
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_one_line_even_if_something_answers_there(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_listens", lambda _: True)
    told = f"^EMBEDDED_BROKER_HOST={host}: must be an address of this machine, .+"
    with pytest.raises(SettingsError, match=told):
        embedded.start_if_needed(place(tmp_path, embedded_broker_host=host))


@pytest.mark.broker
@pytest.mark.process
def test_what_a_server_said_before_an_empty_line_is_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nats-server"
    program.write_text("#!/bin/sh\necho the reason\necho\n")
    program.chmod(0o700)
    monkeypatch.setattr(embedded, "_binary", lambda: str(program))
    with pytest.raises(EmbeddedBrokerError, match=r"cannot start: the reason$"):
        EmbeddedBroker(Options("127.0.0.1", free_port(), 100), store).start()


@pytest.mark.broker
@pytest.mark.process
def test_a_disk_that_is_full_does_not_end_the_watch_over_the_bound(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [OSError("no space left on device")]
    shut_out = threading.Event()

    def turn(_: Store) -> None:
        if errors:
            raise errors.pop()
        shut_out.set()

    monkeypatch.setattr(embedded, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Store, "megabytes", lambda _: 20.0)
    monkeypatch.setattr(Store, "shut_out", turn)
    with running(store, max_mb=10):
        assert shut_out.wait(10), "the second look shuts the devices out"
    assert "Cannot limit the size of the embedded broker: no space left on device" in caplog.text
    assert caplog.text.count("devices have to wait") == 1


@pytest.mark.broker
def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    place = settings(mqtt_port=free_port(), database_url=f"sqlite:///{tmp_path}/x.db")
    (tmp_path / "x.db.broker").touch()
    with pytest.raises(SettingsError) as told:
        embedded.start(place)
    assert str(told.value) == (
        f"{tmp_path}/x.db.broker: the embedded broker cannot keep its messages there: File exists; "
        "it is beside the SQLite file of DATABASE_URL, or in the working directory"
    )
