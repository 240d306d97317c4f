"""The subscriber: receives, hands over, and acknowledges only what the receiver has stored; on real brokers."""

import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

import mqtt_client
from broker.store import ACK_SECONDS
from config import Settings
from mqtt_client import FIRST_RETRY
from tests.brokers import RealBroker, each_broker
from tests.receivers import RecordingReceiver, running, subscribed
from tests.support import Mosquitto, publishing, wait_for

Make = Callable[..., Settings]


@each_broker
def test_it_hands_over_what_is_published(settings: Make, real_broker: RealBroker) -> None:
    store = RecordingReceiver()
    with subscribed(settings(**real_broker.settings), store):
        with publishing(real_broker.port) as publish:
            publish("t/1", "one")
            publish("t/2", b"\x00\xff")
        wait_for(lambda: len(store.messages) == 2)
    assert [(message.topic, message.payload) for message in store.messages] == [
        ("t/1", b"one"),
        ("t/2", b"\x00\xff"),
    ]
    assert store.messages[0].received_at < store.messages[1].received_at


@each_broker
def test_it_hands_over_many_messages_in_their_order(
    settings: Make, real_broker: RealBroker
) -> None:
    store = RecordingReceiver()
    with (
        subscribed(settings(**real_broker.settings), store),
        publishing(real_broker.port) as publish,
    ):
        for number in range(300):
            publish("t/1", str(number))
        wait_for(lambda: len(store.messages) == 300)
    assert store.payloads == [str(number).encode() for number in range(300)]


def test_it_receives_with_mqtt_5(settings: Make, mosquitto: Mosquitto) -> None:
    store = RecordingReceiver()
    make = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol="5")
    with subscribed(make, store):
        pass
    with publishing(mosquitto.port) as publish:
        publish("t/1", "while away")
    with subscribed(make, store):
        wait_for(lambda: store.payloads == [b"while away"])


@each_broker
def test_what_is_not_stored_is_not_acknowledged_and_comes_again_to_the_next_one(
    settings: Make, real_broker: RealBroker
) -> None:
    full, successor = RecordingReceiver(), RecordingReceiver()
    full.open.clear()
    place = settings(**real_broker.settings)
    with subscribed(place, full):
        with publishing(real_broker.port) as publish:
            publish("t/1", "kept by the broker")
        wait_for(lambda: full.refusals)
    with subscribed(place, successor):
        wait_for(lambda: successor.payloads == [b"kept by the broker"])
    assert successor.messages[0].redelivered
    assert successor.messages[0].packet_id > 0


@each_broker
def test_what_is_stored_does_not_come_again(settings: Make, real_broker: RealBroker) -> None:
    first, second = RecordingReceiver(), RecordingReceiver()
    place = settings(**real_broker.settings)
    with publishing(real_broker.port) as publish:
        with subscribed(place, first):
            publish("t/1", "one")
            wait_for(lambda: first.payloads == [b"one"])
        with subscribed(place, second):
            publish("t/1", "two")
            wait_for(lambda: second.messages)
    assert second.payloads == [b"two"]


@each_broker
def test_it_holds_the_batch_and_the_connection_while_the_receiver_is_not_ready(
    settings: Make, real_broker: RealBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_client, "LAST_RETRY", FIRST_RETRY)
    store = RecordingReceiver()
    store.open.clear()
    with subscribed(settings(**real_broker.settings, mqtt_keepalive=5), store) as subscriber:
        with publishing(real_broker.port) as publish:
            for number in range(50):
                publish("t/1", str(number))
        # Longer than the embedded broker waits before it sends a message again.
        refusals = math.ceil((ACK_SECONDS + 1) / FIRST_RETRY)
        wait_for(lambda: store.refusals >= refusals, seconds=30)
        assert subscriber.state.connected
        store.open.set()
        wait_for(lambda: len(store.messages) == 50)
    assert store.payloads == [str(number).encode() for number in range(50)]
    assert not any(message.redelivered for message in store.messages)


@each_broker
def test_it_comes_back_after_the_broker_was_killed(settings: Make, real_broker: RealBroker) -> None:
    store = RecordingReceiver()
    with subscribed(settings(**real_broker.settings), store) as subscriber:
        real_broker.stop(signal.SIGKILL)
        wait_for(lambda: not subscriber.state.connected)
        assert subscriber.state.problem is not None
        real_broker.start()
        wait_for(lambda: subscriber.state.subscribed, seconds=30)
        with publishing(real_broker.port) as publish:
            publish("t/1", "after")
        wait_for(lambda: store.payloads == [b"after"])


def test_it_does_not_connect_before_it_may(settings: Make, mosquitto: Mosquitto) -> None:
    store = RecordingReceiver()
    store.connectable = False
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port), store) as subscriber:
        wait_for(lambda: store.asked >= 3)
        assert not subscriber.state.connected
        store.connectable = True
        wait_for(lambda: subscriber.state.subscribed)


@pytest.mark.broker
@pytest.mark.process
def test_a_refused_login_is_named(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    server = Mosquitto(tmp_path / "broker", "allow_anonymous false")
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true\n", ""))
    server.start()
    place = settings(
        mqtt_broker="127.0.0.1", mqtt_port=server.port, mqtt_username="u", mqtt_password="secret"
    )
    with running(place, RecordingReceiver()) as subscriber:
        wait_for(lambda: "refused" in (subscriber.state.problem or ""))
        assert "Not authorized" in str(subscriber.state.problem)
        assert "secret" not in str(subscriber.state.problem)
    server.stop()


@pytest.mark.broker
@pytest.mark.process
def test_a_broker_that_grants_only_qos_0_is_named(settings: Make, tmp_path: Path) -> None:
    server = Mosquitto(tmp_path / "broker", "max_qos 0")
    server.start()
    with running(
        settings(mqtt_broker="127.0.0.1", mqtt_port=server.port), RecordingReceiver()
    ) as subscriber:
        wait_for(lambda: subscriber.state.problem == "the broker refused QoS 1 for t/#")
        assert not subscriber.state.subscribed
    server.stop()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with the certificate of an authority, and of a server on localhost."""
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    return tmp_path


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(("scheme", "protocol"), [("mqtts", "mqtt"), ("wss", "websockets")])
def test_it_receives_over_tls_without_stalling(
    settings: Make, tmp_path: Path, certificates: Path, scheme: str, protocol: str
) -> None:
    extra = f"allow_anonymous true\nprotocol {protocol}\ncertfile {certificates}/cert.pem\nkeyfile {certificates}/key.pem"
    server = Mosquitto(tmp_path / "broker")
    plain = Mosquitto(tmp_path / "unused").port
    text = (tmp_path / "broker" / "mosquitto.conf").read_text()
    (tmp_path / "broker" / "mosquitto.conf").write_text(
        f"{text}\nlistener {plain} 127.0.0.1\n{extra}\n"
    )
    server.start()
    store = RecordingReceiver()
    place = settings(
        mqtt_broker=f"{scheme}://localhost:{plain}", mqtt_ca_cert=certificates / "ca.pem"
    )
    with subscribed(place, store), publishing(server.port) as publish:
        for number in range(100):
            publish("t/1", "x" * 2000 + str(number))
        wait_for(lambda: len(store.messages) == 100)
    server.stop()


@pytest.mark.broker
@pytest.mark.process
def test_it_receives_over_websocket(settings: Make, tmp_path: Path) -> None:
    server = Mosquitto(tmp_path / "broker")
    other = Mosquitto(tmp_path / "unused").port
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text(
        f"{config.read_text()}\nlistener {other} 127.0.0.1\nallow_anonymous true\nprotocol websockets\n"
    )
    server.start()
    store = RecordingReceiver()
    with (
        subscribed(settings(mqtt_broker=f"ws://127.0.0.1:{other}/mqtt"), store),
        publishing(server.port) as publish,
    ):
        for number in range(100):
            publish("t/1", str(number))
        wait_for(lambda: len(store.messages) == 100)
    server.stop()


def test_it_acknowledges_a_large_batch_before_it_leaves(
    settings: Make, mosquitto: Mosquitto
) -> None:
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)
    with subscribed(place, RecordingReceiver()):
        pass
    with publishing(mosquitto.port, wait=False) as publish:
        for number in range(20_000):
            publish("t/1", str(number))
    store, successor = RecordingReceiver(), RecordingReceiver()
    with subscribed(place, store):
        wait_for(lambda: len(store.messages) >= 20_000)
    with subscribed(place, successor), publishing(mosquitto.port) as publish:
        publish("t/1", "the next")
        wait_for(lambda: b"the next" in successor.payloads)
    assert successor.payloads == [b"the next"]
