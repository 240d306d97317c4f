"""Socket.IO clients that send nonsense, too much or leave at once: nobody else notices, and no traceback is logged."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websocket import ABNF, WebSocket, WebSocketException, create_connection

from serving.websockets import MAX_BODY
from tests.connections import established
from tests.live import Io, post, serving
from tests.support import BackendProcess, free_port, wait_for

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
NONSENSE = [
    "",
    "x",
    "7",
    "9",
    "4",
    "4x",
    "42",
    "42[",
    "42[]",
    "42{}",
    "42null",
    '42"subscribe"',
    "42[1,2]",
    '42[["subscribe"],{}]',
    '42["subscribe"',
    '42["subscribe",{"stream":"sensors"},2,3]',
    '42["connect"]',
    '42["disconnect",1,2,3]',
    "42" + "[" * 5000,
    "4" + "[" * 5000,
    "42" + "9" * 200 + '["subscribe"]',
    "421" * 100,
    "43[]",
    "431[1]",
    '43999["x"]',
    "44{}",
    "40/nowhere,",
    "40/nowhere,{",
    '42/nowhere,["subscribe",{"stream":"sensors"}]',
    '451-["subscribe",{"_placeholder":true,"num":0}]',
    '4599-["subscribe",{"_placeholder":true,"num":0}]',
    "461-[1]",
    "48",
    "bAAAA",
    "b!!",
    "\x1e\x1e",
    "5",
    "2probe",
    "1",
    "41",
]

UNKNOWN = ["7", "9", "2", "0"]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """A backend without its broker, which no test here needs."""
    folder = tmp_path_factory.mktemp("backend")
    with serving(
        BackendProcess(folder, None, MQTT_BROKER="127.0.0.1", MQTT_PORT=str(free_port()))
    ) as started:
        yield started


@contextlib.contextmanager
def nobody_notices(backend: BackendProcess, device_id: str) -> Iterator[None]:
    """Another client gets what comes afterwards, and no traceback is logged."""
    before = len(backend.console.read_text())
    with Io(backend.port, "websocket") as client:
        client.subscribe(stream="sensors", device_id=device_id)
        yield
        post(backend, device_id, 1)
        client.await_temperature(1)
    logged = backend.console.read_text()[before:]
    assert "Traceback" not in logged, logged


def websocket(backend: BackendProcess) -> WebSocket:
    """A connection that has joined the namespace."""
    connection = create_connection(f"ws://127.0.0.1:{backend.port}{WEBSOCKET}", timeout=10)
    connection.recv()
    connection.send("40")
    assert str(connection.recv()).startswith("40{")
    return connection


def post_raw(backend: BackendProcess, path: str, length: str, body: bytes = b"") -> tuple[int, Any]:
    """The answer to a POST with this Content-Length, whatever it is."""
    connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=10)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", length)
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def subscribed(connection: WebSocket, text: str) -> dict[str, Any]:
    """The acknowledgement of what was sent with the number 7."""
    connection.send(text)
    while not (said := str(connection.recv())).startswith("437"):
        pass
    answer: dict[str, Any] = json.loads(said.removeprefix("437"))[0]
    return answer


# Requests


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "+5", "²"])
def test_a_length_that_is_no_number_is_refused(backend: BackendProcess, length: str) -> None:
    status, said = post_raw(backend, POLLING, length)
    assert (status, said["message"].partition(",")[0]) == (400, "Content-Length: expected a number")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(backend: BackendProcess) -> None:
    sentence = {"message": "The body is too large: at most 10000 bytes"}
    for length in (4 * MAX_BODY, 10**15):
        assert post_raw(backend, POLLING, str(length)) == (413, sentence)
    assert post_raw(backend, POLLING, str(MAX_BODY + 1), b"x" * (MAX_BODY + 1)) == (413, sentence)
    status, _ = post_raw(backend, POLLING, str(MAX_BODY), b"x" * MAX_BODY)
    assert status == 400


@pytest.mark.parametrize(
    "query", ["", "?EIO=3&transport=polling", "?EIO=4&transport=carrier-pigeon", "?EIO=4&sid=x"]
)
def test_a_request_that_makes_no_sense_is_refused(backend: BackendProcess, query: str) -> None:
    status, message = backend.get(f"/socket.io/{query}")
    assert (status, type(message)) == (400, str)


def test_a_session_that_does_not_exist_is_refused(backend: BackendProcess) -> None:
    assert post_raw(backend, f"{POLLING}&sid=nobody", "2", b"40")[0] == 400


BROKEN = {
    "a chunk without a size": "Transfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n",
    "chunks that break off": "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "a body that breaks off": "Content-Length: 100\r\n\r\n[]",
    "a long body that breaks off": "Content-Length: 50000\r\n\r\n[]",
    "a length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("path", ["/api/sensors/readings", "/api/control", POLLING + "&sid={sid}"])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_body_that_is_broken_is_refused_without_a_traceback(
    backend: BackendProcess, path: str, body: str
) -> None:
    with nobody_notices(backend, f"broken{len(path)}{len(body)}"):
        path = path.format(sid=session(backend) if "sid" in path else "")
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", backend.port), timeout=10) as client:
            client.sendall((head + body).encode())
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
        # Engine.IO takes no chunks, and no more than MAX_BODY at once.
        assert answer.split()[1] in ((b"400", b"411", b"413") if "sid" in path else (b"400",))


@pytest.mark.parametrize(
    "path",
    [
        "/socket.io/?EIO=4&transport=polling&sid=x%0a2026-01-01%2000:00:00,000%20-%20autoforge%20-%20ERROR%20-%20FAKE%1b[31m",
        "/socket.io/?EIO=4&transport=x%0d%0aFAKE%1b[31m",
        "/api/publisher/configs/x%0aFAKE%1b[31m",
        "/api/control/x%0aFAKE%1b[31m",
    ],
)
def test_nobody_can_write_a_line_into_the_log(backend: BackendProcess, path: str) -> None:
    with http_answer(backend, "GET", path) as answer:
        assert 400 <= answer.status < 500
    log = (backend.folder / "autoforge.log").read_text()
    assert "\x1b" not in log
    lines = log.splitlines() + backend.console.read_text().splitlines()
    assert not [
        line
        for line in lines
        if "FAKE" in line and " - engineio" not in line and " - autoforge - " not in line
    ]
    assert not [line for line in lines if line.startswith("2026-01-01")]
    assert "FAKE\x1b" not in backend.console.read_text()


# Packets


@pytest.mark.parametrize("text", NONSENSE, ids=[text[:20] or "nothing" for text in NONSENSE])
def test_nonsense_over_a_websocket_harms_nobody_else(backend: BackendProcess, text: str) -> None:
    with nobody_notices(backend, f"n{NONSENSE.index(text)}"):
        connection = websocket(backend)
        with contextlib.suppress(WebSocketException, OSError):
            connection.send(text)
            connection.send_binary(text.encode())
            connection.send(text)
        time.sleep(0.05)  # nothing answers nonsense
        connection.shutdown()  # type: ignore[no-untyped-call]  # the library's own types miss it


def test_nonsense_over_polling_harms_nobody_else(backend: BackendProcess) -> None:
    with nobody_notices(backend, "polled"):
        for text in NONSENSE:
            if text[:1] in UNKNOWN or text == "1":
                continue
            sid = session(backend)
            for packet in ("40", text, text):
                with http_answer(
                    backend, "POST", f"{POLLING}&sid={sid}", packet.encode()
                ) as answer:
                    assert answer.status in (200, 400), (text, packet, answer.read())


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_packet_over_polling_does_not_hold_a_thread(
    backend: BackendProcess, kind: str
) -> None:
    with http_answer(
        backend, "POST", f"{POLLING}&sid={session(backend)}", kind.encode(), timeout=2
    ) as answer:
        assert answer.status == 400


def test_a_session_that_has_ended_takes_nothing_more(backend: BackendProcess) -> None:
    sid = session(backend)
    statuses = []
    for _ in range(2):
        with http_answer(backend, "POST", f"{POLLING}&sid={sid}", b"1") as answer:
            statuses.append(answer.status)
    assert statuses == [200, 400]


def session(backend: BackendProcess) -> str:
    with http_answer(backend, "GET", POLLING) as answer:
        sid: str = json.loads(answer.read().decode().removeprefix("0"))["sid"]
    return sid


@contextlib.contextmanager
def http_answer(
    backend: BackendProcess, method: str, path: str, body: bytes = b"", timeout: float = 10
) -> Iterator[http.client.HTTPResponse]:
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", backend.port, timeout=timeout)
    ) as connection:
        connection.request(method, path, body or None)
        yield connection.getresponse()


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(
            ABNF.create_frame("x" * 300_000, ABNF.OPCODE_TEXT).format(), id="300 kB at once"
        ),
        pytest.param(b"\xff" * 1000, id="no frames"),
        pytest.param(b"\x81\xff" + b"\xff" * 12, id="a frame of 2**64 bytes"),
        pytest.param(b"\x81\x82\0\0\0\0\xff\xfe", id="no UTF-8"),
        pytest.param(b"\x81\x02hi", id="not masked"),
        pytest.param(b"\x89\xfe\x01\x00" + b"\0" * 260, id="a long ping"),
        pytest.param(b"\x01\x80\0\0\0\0" * 100, id="fragments without an end"),
        pytest.param(b"\x88\x81\0\0\0\0x", id="a bad close"),
    ],
)
def test_bytes_that_are_no_messages_harm_nobody_else(backend: BackendProcess, frame: bytes) -> None:
    with nobody_notices(backend, f"b{len(frame)}"):
        connection = websocket(backend)
        with contextlib.suppress(OSError):
            assert connection.sock is not None
            connection.sock.sendall(frame)
        time.sleep(0.05)
        connection.shutdown()  # type: ignore[no-untyped-call]  # the library's own types miss it


def test_a_client_that_sends_too_much_is_cut_off(backend: BackendProcess) -> None:
    connection = websocket(backend)
    with pytest.raises((WebSocketException, OSError)):  # noqa: PT012 - whichever of them notices
        for _ in range(200):
            connection.send('42["subscribe",{"stream":"' + "x" * 5000 + '"}]')
        while True:
            connection.recv()
    connection.shutdown()  # type: ignore[no-untyped-call]  # the library's own types miss it


@pytest.mark.parametrize(
    "text",
    [
        '42["disconnect"]',
        '42["disconnect","bye"]',
    ],
)
def test_a_client_that_emits_disconnect_stays_subscribed(
    backend: BackendProcess, text: str
) -> None:
    device_id = f"stays{len(text)}"
    wanted = json.dumps({"stream": "sensors", "device_id": device_id})
    with contextlib.closing(websocket(backend)) as connection:
        connection.settimeout(3)
        assert subscribed(connection, f'427["subscribe",{wanted}]')["message"] == "subscribed"
        connection.send(text)
        assert (
            subscribed(connection, '427["unsubscribe",{"stream":"sensors"}]')["message"]
            == "unsubscribed"
        )
        post(backend, device_id, 1)
        assert json.loads(str(connection.recv())[2:])[1]["data"]["temperature"] == 1


# Who leaves


def test_clients_that_leave_are_forgotten(backend: BackendProcess) -> None:
    before = established(backend.port)
    clients = [Io(backend.port, "websocket") for _ in range(10)]
    for client in clients:
        client.subscribe(stream="sensors")
    assert established(backend.port) >= before + 10
    for client in clients:
        client.close()
    wait_for(lambda: established(backend.port) <= before, what="the connections to end")
