"""What is said where the connection to the broker fails: what it is, and what to look at."""

import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import refused, unreachable
from broker.publisher import Publisher, PublishError
from config import Settings
from tests.receivers import RecordingReceiver, running
from tests.support import Mosquitto, connected_client, free_port, wait_for
from utils.broker_address import BrokerAddress

# paho leaves a socket to the garbage collector whose handshake has failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Make = Callable[..., Settings]
PLAIN, TLS = BrokerAddress("h", 1), BrokerAddress("h", 1, tls=True)
WEB = BrokerAddress(
    "h", 1, transport="websockets", path="/hunter1?token=hunter2", password="hunter3"
)


@pytest.fixture(autouse=True)
def _no_socket_is_left_to_later_tests() -> Iterator[None]:
    yield
    gc.collect()


@contextlib.contextmanager
def answering(answer: bytes, *, reads: bool = True) -> Iterator[int]:
    """The port of a server that gives each client one answer and closes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                opened, _ = server.accept()
                with opened, contextlib.suppress(OSError):
                    if reads:
                        opened.recv(1000)
                    opened.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    gc.collect()  # here, where the warning of paho's socket is passed over, and not in the test of another module


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with the certificate of an authority, and of a server on localhost."""
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    return tmp_path


@pytest.fixture
def listeners(tmp_path: Path, certificates: Path) -> Iterator[tuple[int, int, int]]:
    """The ports of a broker for plain MQTT, for TLS, and for TLS that asks for a certificate."""
    server, secured, strict = Mosquitto(tmp_path / "broker"), free_port(), free_port()
    config = tmp_path / "broker" / "mosquitto.conf"
    files = f"certfile {certificates}/cert.pem\nkeyfile {certificates}/key.pem\n"
    asks = f"cafile {certificates}/ca.pem\nrequire_certificate true\n"
    more = f"listener {secured} 127.0.0.1\n{files}allow_anonymous true\nlistener {strict} 127.0.0.1\n{files}{asks}"
    config.write_text(f"{config.read_text()}\n{more}")
    server.start()
    yield server.port, secured, strict
    server.stop()


def is_told(place: Settings, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    """The subscriber has it as its problem and in the log, and the publisher as its error."""
    with running(place, RecordingReceiver()) as subscriber:
        wait_for(lambda: sentence in (subscriber.state.problem or ""), what=sentence)
    assert sentence in caplog.text
    with pytest.raises(PublishError) as failure:
        Publisher(place).publish("t", b"")
    assert sentence in str(failure.value)


@pytest.mark.broker
@pytest.mark.process
def test_a_tls_port_spoken_to_in_plain_text_is_asked_about(
    settings: Make, listeners: tuple[int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    question = "closed the connection at once: does it expect TLS (mqtts://)?"
    is_told(settings(mqtt_broker=f"mqtt://localhost:{listeners[1]}"), question, caplog)


@pytest.mark.broker
@pytest.mark.process
def test_a_plain_port_spoken_to_with_tls_is_asked_about(
    settings: Make, listeners: tuple[int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    question = "does not answer with TLS: is that port unencrypted (mqtt://)?"
    is_told(settings(mqtt_broker=f"mqtts://localhost:{listeners[0]}"), question, caplog)


@pytest.mark.broker
@pytest.mark.process
def test_a_certificate_that_is_not_accepted_is_named(
    settings: Make,
    listeners: tuple[int, int, int],
    certificates: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secured = f"mqtts://localhost:{listeners[1]}"
    is_told(
        settings(mqtt_broker=secured),
        "is not accepted: unable to get local issuer certificate",
        caplog,
    )
    other = settings(
        mqtt_broker=f"mqtts://127.0.0.1:{listeners[1]}", mqtt_ca_cert=certificates / "ca.pem"
    )
    is_told(other, "is not accepted: IP address mismatch", caplog)


@pytest.mark.broker
@pytest.mark.process
def test_a_broker_that_wants_a_certificate_of_ours_is_asked_about(
    settings: Make,
    listeners: tuple[int, int, int],
    certificates: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = settings(
        mqtt_broker=f"mqtts://localhost:{listeners[2]}", mqtt_ca_cert=certificates / "ca.pem"
    )
    is_told(place, "does it require another client certificate (MQTT_CLIENT_CERT", caplog)


@pytest.mark.broker
@pytest.mark.process
def test_a_full_broker_is_asked_about(
    settings: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Mosquitto(tmp_path / "broker", "max_connections 1")
    server.start()
    others = [connected_client(server.port) for _ in range(2)]  # Mosquitto lets one more in
    is_told(
        settings(mqtt_broker="127.0.0.1", mqtt_port=server.port),
        "has it reached its client limit?",
        caplog,
    )
    for other in others:
        other.disconnect()
        other.loop_stop()
    server.stop()


@pytest.mark.broker
@pytest.mark.parametrize(
    ("answer", "scheme", "version", "sentence"),
    [
        pytest.param(b"", "mqtt", "5", "does it support MQTT 5?", id="a broker without MQTT 5"),
        pytest.param(
            b"\x20\x02\x00\x05",
            "mqtt",
            "3.1.1",
            "check MQTT_USERNAME",
            id="a login that is refused",
        ),
        pytest.param(
            b"\x20\x02\x00\x04", "mqtt", "3.1.1", "check MQTT_USERNAME", id="a wrong password"
        ),
        pytest.param(
            b"\x20\x02\x00\x02",
            "mqtt",
            "3.1.1",
            "check MQTT_CLIENT_ID",
            id="a client id that is refused",
        ),
        pytest.param(
            b"\x20\x03\x00\x84\x00",
            "mqtt",
            "5",
            "set MQTT_PROTOCOL",
            id="a version that is refused",
        ),
        pytest.param(
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            "ws",
            "3.1.1",
            "is the path in MQTT_BROKER right",
            id="another path",
        ),
        pytest.param(
            b"\x20\x02\x00\x00", "ws", "3.1.1", "serve WebSockets on that port", id="no WebSocket"
        ),
        pytest.param(
            b"", "wss", "3.1.1", "is that port unencrypted (ws://)?", id="a WebSocket without TLS"
        ),
    ],
)
def test_what_a_broker_answers_is_explained(
    settings: Make,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    scheme: str,
    version: str,
    sentence: str,
) -> None:
    with answering(answer) as port:
        is_told(
            settings(mqtt_broker=f"{scheme}://127.0.0.1:{port}", mqtt_protocol=version),
            sentence,
            caplog,
        )


@pytest.mark.broker
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept:x\r\n"]
)
def test_the_token_of_a_signed_url_is_told_to_nobody(
    settings: Make, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    caplog.set_level("DEBUG")
    with answering(answer) as port:
        place = settings(mqtt_broker=f"ws://127.0.0.1:{port}/hunter1?token=hunter2")
        is_told(place, "does not answer as a WebSocket", caplog)
    assert "hunter" not in caplog.text


@pytest.mark.broker
def test_a_client_id_that_another_client_uses_is_told_at_once_with_mqtt_5(settings: Make) -> None:
    store = RecordingReceiver()
    with answering(b"\x20\x03\x00\x00\x00\xe0\x01\x8e") as port:
        place = settings(mqtt_broker=f"mqtt://127.0.0.1:{port}", mqtt_protocol="5")
        with running(place, store) as subscriber:
            wait_for(
                lambda: "another client has connected" in str(subscriber.state.problem),
                what="the eviction",
            )
            assert store.evictions


@pytest.mark.parametrize(
    ("address", "error", "sentence"),
    [
        (
            PLAIN,
            ConnectionRefusedError(111, "Connection refused"),
            "cannot be reached: [Errno 111] Connection refused",
        ),
        (
            TLS,
            ConnectionRefusedError(111, "Connection refused"),
            "cannot be reached: [Errno 111] Connection refused",
        ),
        (
            TLS,
            TimeoutError("_ssl.c:1006: The handshake operation timed out"),
            "is that port unencrypted (mqtt://)?",
        ),
        (
            TLS,
            ConnectionResetError(104, "Connection reset by peer"),
            "is that port unencrypted (mqtt://)?",
        ),
        (
            TLS,
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
            "is that port unencrypted (mqtt://)?",
        ),
        (
            WEB,
            WebsocketConnectionError("WebSocket handshake error"),
            "is the path in MQTT_BROKER right",
        ),
        (
            WEB,
            OSError("the answer to the WebSocket's handshake cannot be read"),
            "is the path in MQTT_BROKER right",
        ),
    ],
)
def test_an_error_is_a_sentence(address: BrokerAddress, error: Exception, sentence: str) -> None:
    assert sentence in unreachable(address, error)
    assert unreachable(address, error).count(str(address)) == 1
    assert "hunter" not in unreachable(address, error)


def test_a_refusal_without_a_hint_is_told_as_it_is() -> None:
    reason = ReasonCode(PacketTypes.CONNACK, "Server busy")
    assert refused(PLAIN, reason) == "mqtt://h:1 refused the connection: Server busy"
