"""How much of a request has arrived, before a parser sees it."""

import pytest

from serving.framing import MAX_WAITING, Arrived, arrived, missing

GET = b"GET /api/health HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /api/sensors/readings HTTP/1.1\r\nHost: x\r\n"

CASES = {
    "nothing": (b"", Arrived.PART),
    "a part of the first line": (b"GET /api", Arrived.PART),
    "a head without its end": (GET, Arrived.PART),
    "half of the end": (GET + b"\r", Arrived.PART),
    "a whole head": (GET + b"\r\n", Arrived.WHOLE),
    "two requests": ((GET + b"\r\n") * 2, Arrived.WHOLE),
    "a head with bare line feeds": (b"GET / HTTP/1.0\n\n", Arrived.WHOLE),
    "a head that is too long": (b"GET /" + b"x" * MAX_WAITING, Arrived.STREAM),
    "a body": (POST + b"Content-Length: 2\r\n\r\n{}", Arrived.WHOLE),
    "a body without a byte": (POST + b"Content-Length: 0\r\n\r\n", Arrived.WHOLE),
    "a part of a body": (POST + b"Content-Length: 3\r\n\r\n{}", Arrived.PART),
    "a part of a body, in small letters": (POST + b"content-length:3 \r\n\r\n{}", Arrived.PART),
    "a length in the body only": (POST + b"\r\nContent-Length: 3\r\n\r\n", Arrived.WHOLE),
    "a long body": (POST + b"Content-Length: %d\r\n\r\n" % (MAX_WAITING + 1), Arrived.STREAM),
    "a long body that is there": (
        POST + b"Content-Length: %d\r\n\r\n" % (MAX_WAITING + 1) + b"x" * (MAX_WAITING + 1),
        Arrived.WHOLE,
    ),
    "a length that is no number": (POST + b"Content-Length: x\r\n\r\n", Arrived.WHOLE),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", Arrived.WHOLE),
    "a length of 5,000 digits": (
        POST + b"Content-Length: " + b"1" * 5_000 + b"\r\n\r\n",
        Arrived.WHOLE,
    ),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", Arrived.STREAM),
    "chunks and a length": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        Arrived.STREAM,
    ),
    "a client that asks first": (
        POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        Arrived.STREAM,
    ),
}


@pytest.mark.parametrize(("data", "expected"), CASES.values(), ids=CASES)
def test_it_tells_what_has_arrived(data: bytes, expected: Arrived) -> None:
    assert arrived(data) is expected
    assert arrived(bytearray(data)) is expected


@pytest.mark.parametrize("data", [case[0] for case in CASES.values() if len(case[0]) < 200])
def test_whole_requests_are_whole_whatever_packets_they_come_in(data: bytes) -> None:
    states = [arrived(data[:size]) for size in range(len(data) + 1)]
    ready = next(
        (index for index, state in enumerate(states) if state is not Arrived.PART), len(states)
    )
    assert Arrived.PART not in states[ready:]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GET, "its header did not end"),
        (POST + b"Content-Length: 30\r\n\r\n{}", "2 of 30 bytes of its body came"),
    ],
)
def test_it_tells_what_is_missing(data: bytes, expected: str) -> None:
    assert missing(data) == expected
