"""How simulated boards post what they cannot publish: the same bytes, until the backend has them."""

import http.server
import json
import threading
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from broker.dialer import Dialer
from broker.loop import Loop
from config import PROJECT
from simulators.backend import Away, BackendClient
from simulators.device import SimulatedDevice, SimulatedMessage, devices
from simulators.fallback import MOST_AT_ONCE, Fallback
from simulators.tally import Tally
from streams.declaration import load
from tests.support import DEVICE_TOPICS, wait_for

STREAMS = load(PROJECT / "streams", {}, DEVICE_TOPICS)
NOON = datetime(2026, 5, 4, 12)


class Request(NamedTuple):
    path: str
    body: bytes


@pytest.fixture
def desk() -> Iterator["RecordingServer"]:
    with RecordingServer() as desk:
        thread = threading.Thread(target=desk.serve_forever, daemon=True)
        thread.start()
        yield desk
        desk.shutdown()
        thread.join(10)


class RecordingServer(http.server.ThreadingHTTPServer):
    """A substitute for the backend: it gives the prepared answers, then 201, and keeps what was posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answers: deque[int | tuple[int, str]] = deque()
        self.requests: list[Request] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, RecordingServer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(Request(self.path, body))
        answer = self.server.answers.popleft() if self.server.answers else 201
        status, text = answer if isinstance(answer, tuple) else (answer, '{"message": "because"}')
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """It is silent."""


def readings(device: SimulatedDevice, count: int, **invalid: bool) -> list[SimulatedMessage]:
    return [device.next(NOON + number * timedelta(seconds=1), **invalid) for number in range(count)]


@pytest.mark.broker
def test_payloads_are_posted_byte_for_byte_in_arrays_for_each_device_and_metric(
    desk: RecordingServer,
) -> None:
    one, two = devices(STREAMS["panels"], 2, 1)
    mixed = [
        message for pair in zip(readings(one, 8), readings(two, 8), strict=True) for message in pair
    ]
    tally = Tally(measured=16)
    Fallback(BackendClient(desk.url), tally, pytest.fail).take(mixed)
    wait_for(lambda: tally.posted == 16)
    posted = {request.path: request.body for request in desk.requests}
    assert len(posted) == len(desk.requests) == 8
    first, again = mixed[0], mixed[8]
    path = "/api/panels/readings?device_id=trafo1&metric=voltage"
    assert posted[path] == b"[" + first.payload + b"," + again.payload + b"]"


@pytest.mark.broker
def test_a_request_has_at_most_a_thousand_readings(desk: RecordingServer) -> None:
    tally = Tally(measured=2500)
    Fallback(BackendClient(desk.url), tally, pytest.fail).take(
        readings(SimulatedDevice(STREAMS["sensors"], "a", 1), 2500)
    )
    wait_for(lambda: tally.posted == 2500)
    assert [len(json.loads(request.body)) for request in desk.requests] == [
        MOST_AT_ONCE,
        MOST_AT_ONCE,
        500,
    ]


@pytest.mark.broker
def test_a_request_that_fails_is_repeated_with_the_same_bytes(desk: RecordingServer) -> None:
    desk.answers.extend([503, 500])
    notes: list[str] = []
    tally = Tally(measured=3)
    Fallback(BackendClient(desk.url), tally, notes.append).take(
        readings(SimulatedDevice(STREAMS["sensors"], "a", 1), 3)
    )
    wait_for(lambda: tally.posted == 3)
    assert [request == desk.requests[0] for request in desk.requests] == [True, True, True]
    assert notes[0] == f"the backend at {desk.url} is away (503 because), trying again"


@pytest.mark.broker
def test_a_refusal_is_reported_and_not_repeated(desk: RecordingServer) -> None:
    desk.answers.append(404)
    notes: list[str] = []
    tally = Tally(measured=4)
    fallback = Fallback(BackendClient(desk.url), tally, notes.append)
    fallback.take(readings(SimulatedDevice(STREAMS["sensors"], "a", 1), 3))
    wait_for(lambda: tally.turned_down == 3)
    assert notes == [f"the backend at {desk.url} refuses readings: 404 because"]
    fallback.take(readings(SimulatedDevice(STREAMS["sensors"], "a", 1), 1))
    wait_for(lambda: tally.posted == 1)
    assert (tally.complete, tally.outstanding) == (False, 0)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("text", "turned_down"),
    [
        (
            '{"stored": 1, "duplicate": 1, "rejected": 1, "errors": [{"index": 1, "message": "because"}]}',
            1,
        ),
        ('{"stored": 3, "duplicate": 0, "rejected": 0, "errors": []}', 0),
        ('{"rejected": 99, "message": "because"}', 3),
        ('{"rejected": "some", "message": "because"}', 3),
        ("because", 3),
    ],
)
def test_what_is_taken_in_part_counts_in_part_and_is_not_repeated(
    desk: RecordingServer, text: str, turned_down: int
) -> None:
    desk.answers.append((207, text))
    notes: list[str] = []
    tally = Tally(measured=3)
    Fallback(BackendClient(desk.url), tally, notes.append).take(
        readings(SimulatedDevice(STREAMS["sensors"], "a", 1), 3)
    )
    wait_for(lambda: tally.outstanding == 0)
    assert (tally.posted, tally.turned_down, len(desk.requests)) == (
        3 - turned_down,
        turned_down,
        1,
    )
    assert notes == [f"the backend at {desk.url} refuses readings: 207 because"] * bool(turned_down)


@pytest.mark.broker
def test_a_broken_payload_is_posted_alone_and_its_refusal_is_what_was_wanted(
    desk: RecordingServer,
) -> None:
    device = SimulatedDevice(STREAMS["sensors"], "a", 1)
    good, broken, last = (
        device.next(NOON, invalid=False),
        device.next(NOON, invalid=True),
        device.next(NOON, False),
    )
    desk.answers.extend([201, 400, 201])
    tally = Tally(measured=3)
    Fallback(BackendClient(desk.url), tally, pytest.fail).take([good, broken, last])
    wait_for(lambda: tally.posted == 3)
    assert [request.body for request in desk.requests] == [
        b"[" + good.payload + b"]", broken.payload, b"[" + last.payload + b"]",
    ]  # fmt: skip


@pytest.mark.broker
def test_what_answers_but_is_no_backend_counts_as_away(desk: RecordingServer) -> None:
    with pytest.raises(Away, match="answers 501, which is not an answer of AutoForge"):
        BackendClient(desk.url).check()


# Attempts to reach the broker


class Lines:
    """What a dialer dials; `answer` says what becomes of an attempt."""

    def __init__(self, *answers: str) -> None:
        self.dialled = 0
        self._answers = deque(answers)

    def dial(self) -> None:
        self.dialled += 1
        if self._answers and self._answers.popleft() == "refused":
            raise ConnectionRefusedError

    def give_up(self, fault: str) -> None:
        """It never is: the test ends before."""


def test_a_lost_connection_is_no_failed_attempt_and_attempts_at_the_same_time_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.dialer.FIRST_DELAY", 0.05)
    loop = Loop()
    dialer = Dialer(loop)
    one, other = Lines(), Lines()
    for line in (one, other):
        dialer.want(line)
    while not other.dialled:
        loop.turn(0.01)
    dialer.connected(one)
    dialer.connected(other)
    dialer.failed(one, "connection lost")
    dialer.failed(other, "connection lost")
    assert dialer.failures == 0
    refused = Lines("refused", "refused", "refused")
    for line in (one, other):
        dialer.forget(line)
    dialer.want(refused)
    while refused.dialled < 3:
        loop.turn(0.01)
    assert dialer.failures == 3
    while refused.dialled < 4:
        loop.turn(0.01)
    dialer.connected(refused)
    assert dialer.failures == 0
