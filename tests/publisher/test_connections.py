"""MQTTConnectionManager, for any thread; and the publisher at brokers with logins, rules and TLS."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from config import Settings
from publisher import connections
from publisher.connections import MQTTConnectionManager
from tests.publishing import Log, Patch, Program, PublisherSite, RecordingSubscriber, entry, hanging
from tests.support import Mosquitto, free_port, missing, wait_for

Make = Callable[..., MQTTConnectionManager]


@pytest.fixture
def manager(settings: Callable[..., Settings], monkeypatch: Patch) -> Iterator[Make]:
    """Makes managers of a connection to a local port; each waits half a second for an answer."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)
    made: list[MQTTConnectionManager] = []

    def make(port: int, **values: Any) -> MQTTConnectionManager:
        place = settings(mqtt_broker="127.0.0.1", mqtt_port=port, **values)
        made.append(MQTTConnectionManager(place))
        return made[-1]

    yield make
    for one in made:
        one.disconnect()
        assert not one._thread.alive


def test_it_connects_as_documented(broker: Mosquitto, monkeypatch: Patch) -> None:
    monkeypatch.setenv("MQTT_BROKER", "127.0.0.1")
    monkeypatch.setenv("MQTT_PORT", str(broker.port))
    conn_mgr = MQTTConnectionManager()
    assert not conn_mgr.is_connected()
    for _ in range(2):
        assert conn_mgr.connect() == True  # noqa: E712 - the document's own words
        assert conn_mgr.is_connected()
    conn_mgr.disconnect()
    assert not conn_mgr.is_connected()


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_it_publishes_at_every_qos(manager: Make, broker: Mosquitto, protocol: str) -> None:
    connected = manager(broker.port, mqtt_protocol=protocol)
    assert connected.connect()
    topic = f"each/{protocol}"
    with RecordingSubscriber(broker.port, topic) as heard:
        for qos in range(3):
            assert connected.publish(topic, f'"{qos}"', qos, qos == 2)
        assert connected.publish(topic, b"\xff\x00")
        came = heard.wait(topic, 4)
        how = {one.payload: (one.qos, one.retain) for one in came}
        texts = {b'"0"': (0, False), b'"1"': (1, False), b'"2"': (2, True)}
        assert how == texts | {b"\xff\x00": (1, False)}


def test_without_a_broker_it_says_so_and_keeps_trying(manager: Make, mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    waiting = manager(mosquitto.port)
    assert not waiting.connect()
    assert not waiting.is_connected()
    assert waiting._thread.problem == "Connection refused"
    assert not waiting.publish("a", "b")
    mosquitto.start()
    wait_for(waiting.is_connected, what="the connection")
    assert waiting._thread.problem is None
    assert waiting.publish("a", "b")


@pytest.mark.broker
def test_it_does_not_wait_long_for_a_silent_broker(manager: Make, silent: int) -> None:
    waiting = manager(silent)
    begun = time.monotonic()
    assert not waiting.connect()
    assert time.monotonic() - begun < 1
    waiting.disconnect()
    assert time.monotonic() - begun < 2.5


def test_what_is_not_acknowledged_is_not_published(manager: Make, mosquitto: Mosquitto) -> None:
    connected = manager(mosquitto.port)
    assert connected.connect()
    with hanging(mosquitto):
        begun = time.monotonic()
        assert not connected.publish("a", "b")
        assert 0.4 < time.monotonic() - begun < 1
        connected.disconnect()
        assert not connected.is_connected()


def test_it_can_connect_again_after_it_has_disconnected(manager: Make, broker: Mosquitto) -> None:
    again = manager(broker.port)
    begun = time.monotonic()
    again.disconnect()
    for _ in range(3):
        assert not again.is_connected()
        assert not again.publish("a", "b")
        assert time.monotonic() - begun < 0.4, "without a connection it does not wait"
        assert again.connect()
        assert again.publish("a", "b")
        again.disconnect()
        begun = time.monotonic()


NO_TOPICS = ["a/+", "a/#", "", "a" * 65_536, "\ud800"]


@pytest.mark.parametrize(
    ("topic", "payload", "qos"),
    [*((topic, "b", 1) for topic in NO_TOPICS), ("a", "b", 3), ("a", {}, 1)],
)
def test_what_mqtt_does_not_allow_is_an_error_of_the_caller_and_ends_nothing(
    manager: Make, broker: Mosquitto, topic: str, payload: Any, qos: int
) -> None:
    connected = manager(broker.port)
    assert connected.connect()
    with pytest.raises((ValueError, TypeError)):
        connected.publish(topic, payload, qos)
    assert connected.publish("a", "b")


def test_many_threads_may_use_it_and_each_keeps_its_order(manager: Make, broker: Mosquitto) -> None:
    shared = manager(broker.port)
    with RecordingSubscriber(broker.port, "threads/#") as heard, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: shared.connect(), range(8)))

        def publish(number: int) -> bool:
            return all(shared.publish(f"threads/{number}", str(count), 1) for count in range(50))

        assert all(pool.map(publish, range(8)))
        for number in range(8):
            came = heard.wait(f"threads/{number}", 50)
            assert [int(one.payload) for one in came] == list(range(50))
        for ended in [pool.submit(shared.disconnect) for _ in range(4)]:
            ended.result(3)
    assert not shared._thread.alive


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that requires the user publisher and the password pw."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        missing("mosquitto_passwd")
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([str(program), "-b", str(passwords), "publisher", "pw"], check=True)
    closing = f"allow_anonymous false\npassword_file {passwords}"
    with Mosquitto(tmp_path / "broker", closing) as server:
        yield server


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_refused_login_is_one_warning(
    site: PublisherSite, closed: Mosquitto, protocol: str, caplog: Log
) -> None:
    login = {"mqtt_username": "publisher", "mqtt_password": "wrong", "mqtt_protocol": protocol}
    publisher = site.service([entry("a"), entry("b", lwt=True)], port=closed.port, **login)
    problem = "the broker refused the connection: Not authorized"
    publisher.wait_status(lambda status: status["problem"] == problem)
    wait_for(lambda: problem in caplog.text)
    assert publisher.stop_seconds() < 2
    (record,) = [record for record in caplog.records if "refused" in record.message]
    assert record.levelname == "WARNING"
    assert "wrong" not in caplog.text


def test_a_forbidden_topic_is_one_warning(site: PublisherSite, tmp_path: Path, caplog: Log) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite t/good\n")
    rules.chmod(0o700)
    with Mosquitto(tmp_path / "broker", f"acl_file {rules}") as server:
        entries = [entry("good"), entry("bad")]
        publisher = site.service(entries, port=server.port, mqtt_protocol="5")
        publisher.wait_status(lambda status: status["statistics"]["total_failed"] > 3)
        publisher.stop()
    (line,) = [text for text in caplog.messages if "refuses messages on t/bad" in text]
    assert "Not authorized" in line
    assert publisher.counts("bad")["failed"] == publisher.counts("bad")["published"]
    assert publisher.counts("good")["failed"] == 0


@pytest.mark.broker
@pytest.mark.process
def test_a_login_may_be_an_option_or_in_the_environment(tmp_path: Path, closed: Mosquitto) -> None:
    options = ("--username", "publisher", "--password", "pw")
    environment = {"MQTT_USERNAME": "publisher", "MQTT_PASSWORD": "pw"}
    with RecordingSubscriber(closed.port, login=("publisher", "pw")) as heard:
        with Program(tmp_path, closed.port, [entry("a")], *options):
            heard.wait("t/a")
        with Program(tmp_path, closed.port, [entry("b")], **environment):
            heard.wait("t/b")


@pytest.mark.broker
@pytest.mark.process
def test_tls_needs_the_authority_of_the_broker(tmp_path: Path) -> None:
    authority, own, port = trustme.CA(), tmp_path / "own.pem", free_port()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(own))
    listener = f"listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {own}\nkeyfile {own}"
    entries = [entry("a"), entry("b", lwt=True)]
    options = ("--tls", "--ca-cert", str(tmp_path / "ca.pem"))
    with Mosquitto(tmp_path / "broker", listener) as server:
        with Program(tmp_path, port, entries, "--tls") as program:
            program.wait_line("certificate verify failed")
            assert program.stop_seconds() < 2
            assert len(program.lines("certificate verify failed")) == 1
        program = Program(tmp_path, port, entries, *options)
        with RecordingSubscriber(server.port) as heard, program:
            heard.wait("t/a", 3)
            heard.wait_said("t/b", {"online": 1, "of": "b"})
            assert program.stop_seconds() < 2
            heard.wait_said("t/b", {"online": 0, "of": "b"})
