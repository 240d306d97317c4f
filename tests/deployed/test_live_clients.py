"""Live clients under load: none costs the others anything, and all end with the newest."""

import contextlib
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import product

import psutil
import pytest
from websocket import WebSocket, create_connection

from tests.live import Inbox, Io, Sse
from tests.processes import count, workers
from tests.support import BackendProcess, Mosquitto, payload, publishing, wait_for

pytestmark = pytest.mark.process

DEVICES = [f"board-{number:02}" for number in range(20)]
MESSAGES = 20_000
BEGINNING = datetime(2026, 1, 29, 14, 30)  # naive: UTC
SUBSCRIBE = '["subscribe",{"stream":"sensors"}]'
SMALL = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)]
LET_GO_SECONDS = 45.0
"""Socket.IO's ping and its timeout are 25 s, an SSE client is written to every 15 s and may leave that unread 20 s."""


class Feed:
    """Messages of all devices in turn; the number of a message is also its temperature."""

    def __init__(self, port: int) -> None:
        self.number = 0
        """Of the next message: so many have been published."""
        self._port = port

    def flood(self, messages: int, one_by_one: bool = False) -> None:
        """Publish so many as fast as the broker takes them: all at once in large batches, or one by one in many."""
        with publishing(self._port, wait=one_by_one) as publish:
            for number in range(self.number, self.number + messages):
                timestamp = (BEGINNING + timedelta(milliseconds=number)).isoformat()
                publish(
                    f"sensors/{device_of(number)}/data",
                    payload(temperature=number, timestamp=timestamp),
                )
        self.number += messages

    @property
    def newest(self) -> dict[str, float]:
        """By device, what must arrive in the end."""
        return {
            device_of(number): number for number in range(self.number - len(DEVICES), self.number)
        }

    def arrives_at(self, clients: Iterable[Inbox], seconds: float = 5) -> None:
        """Wait until clients have the newest reading of every device as the last one."""
        wait_for(
            lambda: all(held(client) == self.newest for client in clients),
            seconds,
            "the newest everywhere",
        )

    def until_gone(
        self, process: psutil.Process, fds: int, clients: Iterable[Inbox], seconds: float
    ) -> None:
        """Go on, as devices do, until a process has so few open files."""
        end = time.monotonic() + seconds
        while process.num_fds() > fds:
            assert time.monotonic() < end, f"{process.num_fds() - fds} connections are left"
            self.flood(20)
            self.arrives_at(clients)
            time.sleep(0.2)


@pytest.fixture(scope="module")
def feed(broker: Mosquitto) -> Feed:
    return Feed(broker.port)


def device_of(number: int) -> str:
    return DEVICES[number % len(DEVICES)]


def held(client: Inbox) -> dict[str, float]:
    """By device, the last temperature that a client has received."""
    return {item["device_id"]: item["temperature"] for item in client.of("reading")}


# Clients that do not read


class SlowClient:
    """A Socket.IO client that subscribes over a websocket, and may stop to read."""

    def __init__(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        self.websocket: WebSocket = create_connection(url, timeout=10, sockopt=SMALL)
        self.sid = json.loads(self._text().removeprefix("0"))["sid"]
        self.websocket.send("40")
        assert self._text().startswith("40")
        assert self._text().startswith('42["mqtt-connected"')
        self.websocket.send(f"420{SUBSCRIBE}")
        assert self._text().startswith("430")

    def _text(self) -> str:
        received = self.websocket.recv()
        assert isinstance(received, str)
        return received

    def readings(self) -> Iterator[tuple[str, float]]:
        """Device and temperature of what arrives, for ever."""
        while True:
            text = self._text()
            if text == "2":
                self.websocket.send("3")
            elif text.startswith('42["reading",'):
                data = json.loads(text[2:])[1]["data"]
                yield data["device_id"], data["temperature"]

    def close(self) -> None:
        self.websocket.shutdown()  # type: ignore[no-untyped-call]  # the library's own types miss it


def polling(port: int, sid: str = "", packet: str = "") -> str:
    """The answer of Engine.IO to a request for a session."""
    url = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling{sid and f'&sid={sid}'}"
    try:
        with urllib.request.urlopen(url, packet.encode() or None, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def gone(port: int, sid: str) -> bool:
    """Whether a session has ended; to emit something does not prolong it, as only answers to pings do."""
    return (
        re.search("Invalid session|The session has ended", polling(port, sid, f"42{SUBSCRIBE}"))
        is not None
    )


def stuck_polling(port: int) -> str:
    """The session of a client that subscribes and never asks for what there is."""
    sid: str = json.loads(polling(port).removeprefix("0"))["sid"]
    assert polling(port, sid, "40") == "OK"
    assert polling(port, sid).startswith("40")
    assert polling(port, sid, f"420{SUBSCRIBE}") == "OK"
    assert polling(port, sid).startswith("430")
    return sid


def stuck_sse(port: int) -> socket.socket:
    """A connection that asks for Server-Sent Events and does not read them."""
    connection = socket.socket()
    connection.setsockopt(*SMALL[0])
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    connection.sendall(b"GET /api/sensors/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while b"retry:" not in connection.recv(512):
        pass
    return connection


def threads_with(clients: int, backend: BackendProcess) -> int:
    """How many threads there are while so many more clients are served; its server keeps idle ones."""
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(Sse(backend.port))
        return workers(backend)[0].num_threads()


def test_clients_that_stop_reading_cost_the_others_nothing_and_are_let_go(
    live: BackendProcess, feed: Feed
) -> None:
    (process,) = workers(live)
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(Io(live.port, *transports)) for transports in (["websocket"], [])
        ]
        assert all(
            client.subscribe(stream="sensors")["message"] == "subscribed" for client in sockets
        )
        others = [*sockets, stack.enter_context(Sse(live.port))]
        fds, threads = process.num_fds(), threads_with(10, live)
        feed.until_gone(process, fds, others, 5)
        stuck = [stack.enter_context(contextlib.closing(SlowClient(live.port))) for _ in range(3)]
        sessions = [client.sid for client in stuck]
        for _ in range(3):
            stack.enter_context(stuck_sse(live.port))
        began = time.monotonic()
        polled = stuck_polling(live.port)
        assert process.num_fds() >= fds + 6
        for _ in range(10):
            feed.flood(MESSAGES // 10)
            feed.arrives_at(others)
        assert all("Unexpected" in polling(live.port, sid) for sid in sessions), (
            "they are not gone yet"
        )
        feed.until_gone(process, fds, others, began + LET_GO_SECONDS - time.monotonic())
        left = began + LET_GO_SECONDS - time.monotonic()
        wait_for(
            lambda: all(gone(live.port, sid) for sid in (*sessions, polled)),
            left,
            "the end of their sessions",
        )
        wait_for(lambda: threads_with(7, live) <= threads, 5, "their threads to end")
        assert all(client.client.connected for client in sockets)
        assert count(live) == feed.number, "all is stored"


@pytest.mark.parametrize(
    "transport",
    ["websocket", "polling"],
)
def test_a_flood_reaches_each_client_as_the_newest_at_most_ten_times_a_second(
    live: BackendProcess, feed: Feed, transport: str
) -> None:
    (process,) = workers(live)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(Io(live.port, transport)) for _ in range(3)]
        for client in sockets:
            client.subscribe(stream="sensors")
        clients = [*sockets, stack.enter_context(Sse(live.port))]
        feed.flood(1_000)
        feed.arrives_at(clients)
        memory = process.memory_info().rss
        for messages, one_by_one in ((MESSAGES, False), (MESSAGES // 10, True)):
            for inbox in clients:
                inbox.events.clear()
            began = time.monotonic()
            feed.flood(messages, one_by_one)
            feed.arrives_at(clients)
            # From the first message to the last arrival, so that what arrives late does not count as fast.
            seconds = time.monotonic() - began
            assert messages / len(DEVICES) > 10 * seconds + 1, (
                "or they come too slowly to be held back"
            )
            for device, inbox in product(DEVICES, clients):
                temperatures = inbox.temperatures(device)
                assert 2 <= len(temperatures) <= 10 * seconds + 1
                assert temperatures == sorted(set(temperatures)), (
                    "never an older one after a newer one"
                )
        assert process.memory_info().rss - memory < 20_000_000
        assert count(live) == feed.number


def test_a_client_that_reads_slowly_gets_the_newest_and_no_backlog(
    live: BackendProcess, feed: Feed
) -> None:
    with contextlib.closing(SlowClient(live.port)) as slow, Io(live.port, "websocket") as fast:
        fast.subscribe(stream="sensors")
        readings = slow.readings()
        for _ in range(20):
            feed.flood(500)
            feed.arrives_at([fast])
            next(readings)
        has: dict[str, float] = {}
        behind = 0
        while has != feed.newest:
            device, temperature = next(readings)
            has[device] = temperature
            behind += 1
        assert fast.client.connected
        assert behind < len(fast.of("reading")) / 2, (
            "what it could not read was replaced by what was newer"
        )
