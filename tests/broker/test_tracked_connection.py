"""A tracked connection: its events, and the messages that it names when it ends again."""

import contextlib
import gc
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from broker.connection_thread import ConnectionThread
from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery, TrackedConnection
from config import Settings
from tests.proxies import LocalServer
from tests.support import Mosquitto, wait_for

Start = Callable[..., ConnectionThread]
CONNACK = bytes([0x20, 2, 0, 0])


class RecordingSender:
    """Has messages published, and remembers what became of them."""

    def __init__(self, name: str = "a") -> None:
        self.name = name
        self.deliveries: list[Delivery] = []

    def on_delivery(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


class Kicker(LocalServer):
    """Accepts MQTT connections and ends each at the first message, as for a forbidden topic."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[float] = []

    def serve(self, opened: socket.socket) -> None:
        """Accept, and end it at what comes next."""
        with opened, contextlib.suppress(OSError):
            opened.recv(4096)
            opened.sendall(CONNACK)
            self.accepted.append(time.monotonic())
            opened.recv(4096)


@pytest.fixture
def start(settings: Callable[..., Settings]) -> Iterator[Start]:
    """Starts threads with a connection to a port, which call something in each turn."""
    made: list[ConnectionThread] = []

    def make(
        port: int, turn: Callable[[ConnectionThread], None] = lambda _: None
    ) -> ConnectionThread:
        thread = ConnectionThread(settings(mqtt_broker="127.0.0.1", mqtt_port=port))
        made.append(thread)

        def each_turn() -> float:
            turn(thread)
            return 0.05

        thread.start(each_turn)
        return thread

    yield make
    for thread in made:
        thread.disconnect()
        assert not thread.alive


def test_of_two_messages_with_one_packet_id_the_first_is_lost(
    start: Start, broker: Mosquitto
) -> None:
    first, second, third = RecordingSender(), RecordingSender(), RecordingSender()
    thread = start(broker.port)
    wait_for(lambda: thread.shared.open, what="the connection")

    def publish() -> None:
        shared = thread.shared
        shared.publish(Outgoing("ids/a", b"first", 1, retain=False), first)
        # As after 65,535 more.
        shared.client.client._last_mid -= 1
        shared.publish(Outgoing("ids/a", b"second", 0, retain=False), second)
        shared.publish(Outgoing("ids/a", b"third", 1, retain=False), third)

    thread.call_soon(publish)
    wait_for(lambda: third.deliveries, what="the third one")
    assert (first.deliveries, second.deliveries) == ([Delivery.LOST], [Delivery.WRITTEN])
    assert third.deliveries == [Delivery.CONFIRMED]
    assert thread.shared._bytes == 0


@pytest.mark.broker
@pytest.mark.parametrize("qos", [0, 1])
def test_after_two_ends_the_log_names_what_was_in_flight(
    start: Start, caplog: pytest.LogCaptureFixture, qos: int
) -> None:
    sender = RecordingSender("guilty")
    message = Outgoing("t/guilty", b"{}", qos, retain=False)

    def publish(thread: ConnectionThread) -> None:
        if thread.shared.room and thread.shared.client.client.socket():
            thread.shared.publish(message, sender)

    with Kicker() as kicker:
        start(kicker.port, publish)
        wait_for(lambda: "in flight" in caplog.text, what="the line")
        assert len(kicker.accepted) == 2
        (line,) = [text for text in caplog.messages if "in flight" in text]
        assert line.startswith(
            'A connection has ended 2 times, now with these in flight: "guilty".'
        )


class Owner:
    """Owns a connection with a will, and publishes whenever it opens."""

    def __init__(self, name: str, thread: ConnectionThread) -> None:
        self._sender = RecordingSender(name)
        self._message = Outgoing(f"t/{name}", b"{}", 1, retain=False)
        will = Outgoing(f"t/{name}", b"", 1, retain=False)
        self.connection: TrackedConnection = thread.own(self, [name], will)

    def on_connection(self) -> None:
        if self.connection.open:
            self.connection.publish(self._message, self._sender)


def _own(name: str, thread: ConnectionThread) -> None:
    Owner(name, thread)


@pytest.mark.broker
def test_those_that_the_broker_ends_are_named_and_dialled_less_and_less_often(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with Kicker() as kicker:
        thread = start(kicker.port)
        for name in "ab":
            thread.call_soon(partial(_own, name, thread))
        for name in "ab":
            wait_for(partial(_named, caplog, name), what="the line")
        wait_for(lambda: time.monotonic() > kicker.accepted[0] + 5, what="five seconds")
        # The shared one stays; each of the others comes at about 0, 1, 3 and 7 s.
        assert 5 <= sum(at < kicker.accepted[0] + 5 for at in kicker.accepted) <= 9
        began = time.monotonic()
        thread.disconnect()
        assert time.monotonic() - began < 2


class Garbler(LocalServer):
    """Answers a WebSocket's handshake with a header that paho cannot split."""

    def serve(self, opened: socket.socket) -> None:
        """Answer, and end it."""
        with opened:
            opened.recv(4096)
            header = (
                b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSec-WebSocket-Accept:\r\n\r\n"
            )
            opened.sendall(header)


# paho leaves it to the garbage collector to close the socket.
@pytest.mark.broker
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_answer_that_is_no_websocket_is_a_failed_attempt_like_any_other(
    settings: Callable[..., Settings],
) -> None:
    with Garbler() as server:
        thread = ConnectionThread(settings(mqtt_broker="ws://127.0.0.1", mqtt_port=server.port))
        thread.start()
        wait_for(lambda: thread.problem, what="the problem")
        assert thread.problem == "the answer to the WebSocket's handshake cannot be read"
        assert thread.alive
        thread.disconnect()
        gc.collect()


def _named(log: pytest.LogCaptureFixture, name: str) -> bool:
    return f'now with these in flight: "{name}"' in log.text
