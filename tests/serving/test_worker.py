"""The server with slow, silent, broken and too many connections: their cost, and the answers they get."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving.arrivals
import serving.body
import serving.process
import serving.worker
from tests.served import Application, Running, answer
from tests.support import wait_for

pytestmark = pytest.mark.broker

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = POST + b"Content-Length: 1000000\r\n\r\n{"
SECONDS = 0.6
"""How long a client may take here."""


def message(said: tuple[int, bytes]) -> str:
    text: str = json.loads(said[1])["message"]
    return text


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


@pytest.fixture
def running(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(serving.body, "SECONDS", SECONDS)
    monkeypatch.setattr(serving.process, "CONNECTIONS", 60)
    monkeypatch.setattr(serving.worker, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(serving.arrivals, "LINGER_SECONDS", 0.3)
    started = Running(Application(), listener)
    yield started
    started.stop()


def test_a_request_is_answered(running: Running) -> None:
    assert running.ask(HEALTH) == (200, b"read")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Accept", "Cookie", "X-Own"])
def test_a_header_that_is_a_list_may_be_repeated(running: Running, name: str) -> None:
    assert running.ask(HEALTH[:-2] + f"{name}: a\r\n{name}: b\r\n\r\n".encode())[0] == 200


def test_the_body_of_an_answer_is_not_held_back_until_its_head_is_confirmed(
    running: Running,
) -> None:
    with running.connect(HEALTH) as client:
        assert answer(client) == (200, b"read")
        (held,) = wait_for(lambda: list(running.server._arrivals))
        assert held.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_may_listen_at_a_path(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    served = Running(Application(), listener)
    assert served.ask(HEALTH) == (200, b"read")
    served.stop()


def test_a_body_arrives_whole_in_whatever_pieces_it_is_sent(running: Running) -> None:
    data = POST + b"Content-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz"
    with running.connect() as client:
        for place in range(0, len(data), 7):
            client.sendall(data[place : place + 7])
        assert answer(client) == (200, b"readabcdefghijklmnopqrstuvwxyz")


def test_long_bodies_and_chunks_arrive_whole(running: Running) -> None:
    assert (
        running.ask(POST + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)[1]
        == b"read" + b"x" * 300_000
    )
    chunks = b"".join(b"5\r\nabcde\r\n" for _ in range(1_000))
    assert running.ask(CHUNKED + chunks + b"0\r\n\r\n")[1] == b"read" + b"abcde" * 1_000


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(running: Running) -> None:
    with running.connect(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n") as client:
        assert answer(client)[0] == 100
        client.sendall(b"abc")
        assert answer(client) == (200, b"readabc")


def test_a_connection_takes_several_requests_one_after_the_other_or_at_once(
    running: Running,
) -> None:
    with running.connect(HEALTH) as client:
        assert answer(client) == (200, b"read")
        client.sendall(HEALTH[:10])
        client.sendall(HEALTH[10:])
        assert answer(client) == (200, b"read")
        client.sendall(POST + b"Content-Length: 2\r\n\r\nab" + HEALTH[:20])
        assert answer(client) == (200, b"readab")
        client.sendall(HEALTH[20:])
        assert answer(client) == (200, b"read")


@pytest.mark.parametrize(
    "header",
    [
        *("SCRIPT_NAME: /x", "Script_Name: /x", "PATH_INFO: /held", "X-Forwarded-Proto: https"),
        *(
            "X-Forwarded-Protocol: ssl",
            "X-Forwarded-Ssl: on",
            "X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: http",
        ),
    ],
)
def test_a_client_on_this_machine_cannot_say_what_path_or_scheme_it_has_asked_for(
    running: Running, header: str
) -> None:
    said = running.ask(f"GET /x/environ HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    assert said == (200, b'read["", "/x/environ", "http"]')


# Slow clients

SLOW = {
    "half a header": HEALTH[:20],
    "a header that goes on": HEALTH[:-2],
    "a part of a short body": POST + b"Content-Length: 100\r\n\r\nab",
    "a part of a long body": LONG,
    "a part of a chunk": CHUNKED + b"5\r\nab",
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_a_request_that_does_not_arrive_in_time_ends(running: Running, data: bytes) -> None:
    with running.connect(data) as client:
        began = time.monotonic()
        said = answer(client)
        assert time.monotonic() - began < SECONDS + 5
        assert (said[0], "did not arrive" in message(said)) == (408, True)
        assert answer(client) == (0, b"")


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_a_byte_now_and_then_does_not_keep_a_request_alive(running: Running, data: bytes) -> None:
    with running.connect(data) as client:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < SECONDS + 5:
                client.sendall(b"x" if b"POST" in data else b"x: y\r\n")
                client.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    client.recv(1)
                    break
        assert time.monotonic() - began < SECONDS + 5


def test_a_silent_connection_ends(running: Running) -> None:
    with running.connect() as client:
        assert answer(client) == (0, b"")


def test_a_slow_line_that_keeps_up_is_given_the_time_it_needs(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.body, "RATE", 10_000)
    with running.connect(POST + b"Content-Length: 40000\r\n\r\n") as client:
        for _ in range(20):
            time.sleep(SECONDS / 10)  # a slow line
            client.sendall(b"x" * 2_000)
        assert answer(client) == (200, b"read" + b"x" * 40_000)


# Too many


@pytest.mark.parametrize("data", [b"", *SLOW.values()], ids=["nothing", *SLOW])
def test_a_good_client_is_answered_whatever_many_others_leave_unfinished(
    running: Running, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(serving.body, "SECONDS", 30.0)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(running.connect(data))
        for _ in range(20):
            began = time.monotonic()
            assert running.ask(HEALTH) == (200, b"read")
            assert time.monotonic() - began < 1
        assert running.server.nr_conns <= 61


def test_of_more_long_bodies_than_it_has_threads_for_the_rest_are_told_to_try_again(
    running: Running,
) -> None:
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(running.connect(LONG)) for _ in range(serving.arrivals.MAX_STREAMED)
        ]
        wait_for(lambda: running.application.running == len(clients))
        last = stack.enter_context(running.connect(LONG))
        said = answer(last)
        assert (said[0], "Try again" in message(said)) == (503, True)


def test_where_all_connections_are_in_use_a_new_one_is_told_to_try_again(running: Running) -> None:
    held = HEALTH.replace(b"/health", b"/held")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect(held)) for _ in range(60)]
        wait_for(lambda: running.application.running == len(clients))
        said = running.ask(HEALTH)
        assert (said[0], "busy" in message(said)) == (503, True)
        running.application.release.set()
        assert [answer(client)[0] for client in clients] == [200] * 60
    wait_for(lambda: running.ask(HEALTH)[0] == 200)


def test_a_live_client_stays_connected_for_longer_than_a_request_may_take(running: Running) -> None:
    with running.connect(HEALTH.replace(b"/health", b"/held")) as client:
        wait_for(lambda: running.application.running == 1)
        assert not running.application.release.wait(2 * SECONDS)
        running.application.release.set()
        assert answer(client) == (200, b"read")


def test_a_client_that_does_not_close_its_end_holds_up_nobody(running: Running) -> None:
    data = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect(data)) for _ in range(40)]
        assert [answer(client)[0] for client in clients] == [200] * 40
        began = time.monotonic()
        assert running.ask(HEALTH)[0] == 200
        assert time.monotonic() - began < 1


# Nonsense

BROKEN = {
    "no request": (b"hello\r\n\r\n", 400, "Invalid HTTP request line"),
    "a path that is not percent-encoded": (
        "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        400,
        "^The URL has the byte 0xC3: percent-encode bytes above 127, as %C3%A9 for é$",
    ),
    "a query in Latin-1": (
        b"GET /x?device_id=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        400,
        "the byte 0xFF: percent-encode",
    ),
    "a method that is none": ("GéT / HTTP/1.1\r\n\r\n".encode(), 400, "Invalid HTTP method: 'GéT'"),
    "a header with a strange name": (
        HEALTH[:-2] + "Gerät: x\r\n\r\n".encode(),
        400,
        "Invalid HTTP header name: 'Gerät'",
    ),
    "a version in Latin-1": (b"GET / HTTP/\xe9\r\n\r\n", 400, r"Version: 'HTTP/\\xe9'"),
    **{
        f"{name} twice": (
            POST + f"{name}: a\r\n{name.lower()}: b\r\n\r\n".encode(),
            400,
            f"^{name}: (sent 2 times; )?send it once",
        )
        for name in (
            *("Content-Type", "Host", "Idempotency-Key", "Last-Event-ID", "Origin"),
            "Sec-Fetch-Site",
        )
    },
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", 400, "line feed|LF"),
    "a length that is no number": (
        POST + b"Content-Length: x\r\n\r\n",
        400,
        "Content-Length: expected a number",
    ),
    "a negative length": (
        POST + b"Content-Length: -5\r\n\r\n",
        400,
        "Content-Length: expected a number",
    ),
    "two lengths": (
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
        "Content-Length: .*once",
    ),
    "a length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "no Transfer-Encoding beside it",
    ),
    "a coding that is unknown": (POST + b"Transfer-Encoding: x\r\n\r\n", 501, "transfer coding"),
    **{
        f"chunks of {coding}": (
            POST + f"{header}\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode(),
            501,
            "transfer coding: .*Send the body as it is, with Content-Length or chunked",
        )
        for coding, header in {
            "gzip": "Transfer-Encoding: gzip, chunked",
            "a coding in capitals": "Transfer-Encoding: GZIP,Chunked",
            "a coding on a line of its own": "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked",
            "nothing, as it was called once": "Transfer-Encoding: identity, chunked",
            "an unknown coding": "Transfer-Encoding: x, chunked",
        }.items()
    },
    **{
        f"a coding that does not end with chunked: {codings}": (
            POST + f"Transfer-Encoding: {codings}\r\n\r\n".encode(),
            400,
            "Transfer-Encoding: expected chunked",
        )
        for codings in ("gzip", "identity", "chunked, gzip", "chunked, identity")
    },
    "chunks twice": (
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        400,
        "Transfer-Encoding: expected chunked",
    ),
    "an expectation that nobody meets": (
        POST + b"Content-Length: 1\r\nExpect: x\r\n\r\n",
        417,
        "expectation",
    ),
    "a path that is too long": (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 414, "too large"),
    "too many headers": (HEALTH[:-2] + b"X: y\r\n" * 200 + b"\r\n", 431, "limit"),
    "a header of 60 kB": (HEALTH[:-2] + b"X: " + b"y" * 60_000 + b"\r\n\r\n", 431, "limit"),
    "a chunk without a size": (
        CHUNKED + b"x\r\nabc\r\n0\r\n\r\n",
        400,
        "cannot be read: Invalid chunk size",
    ),
    "a chunk that is longer than it says": (
        CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
        400,
        "chunk terminator",
    ),
    "a chunk of negative size": (CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", 400, "Invalid chunk size"),
    "a chunk with a bad extension": (
        CHUNKED + b"3;\x01\r\nabc\r\n0\r\n\r\n",
        400,
        "Invalid chunk extension",
    ),
    "a trailer that is none": (CHUNKED + b"0\r\nx\r\n\r\n", 400, "Invalid HTTP Header"),
    "a size of chunk without an end": (CHUNKED + b"1" * 20_000, 400, "Invalid chunk size"),
    "chunks that break off": (CHUNKED + b"5\r\nab", 400, "broke off"),
    "chunks without the last": (CHUNKED + b"3\r\nabc\r\n", 400, "broke off"),
    "a part of a long body": (LONG, 400, "broke off: 999999 bytes"),
    "half a header": (HEALTH[:30], 400, "broke off: its header did not end"),
    "a part of the body": (POST + b"Content-Length: 5\r\n\r\nab", 400, "broke off: 2 of 5 bytes"),
}


@pytest.mark.parametrize(("data", "status", "text"), BROKEN.values(), ids=BROKEN)
def test_nonsense_is_told_what_is_wrong_with_it(
    running: Running, caplog: pytest.LogCaptureFixture, data: bytes, status: int, text: str
) -> None:
    said = running.ask(data)
    assert said[0] == status
    assert re.search(text, message(said))
    assert not [record for record in caplog.records if record.exc_info]
    assert running.ask(HEALTH)[0] == 200
