"""The client's side of a websocket: the upgrade and the frames."""

import base64
import os
import socket
import struct
from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
READ_BYTES = 262_144
_FIN = _MASKED = 0x80
_LENGTH_16 = 126
_REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


def upgraded(port: int) -> tuple[socket.socket, bytes]:
    """Open a non-blocking websocket on loopback; return it and the data after the response.

    Raises ConnectionError if the server refuses the upgrade.
    """
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(_REQUEST.format(port=port, key=key).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(READ_BYTES)
        if not more:
            break
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        connection.close()
        raise ConnectionError(f"the server answered {received[:200]!r}")
    connection.settimeout(0)
    return connection, rest


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame. Raises ValueError for a payload of 126 bytes or more.

    The mask is zero: it is valid, and nothing needs to be masked.
    """
    if len(payload) >= _LENGTH_16:
        raise ValueError("a client sends short frames only")
    return struct.pack("!BB", _FIN | opcode, _MASKED | len(payload)) + bytes(4) + payload


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, begin and end of the payload of each complete frame of a server."""
    at, available = 0, len(data)
    while available - at >= 2:
        size, begin = data[at + 1], at + 2
        if size >= _LENGTH_16:
            layout = "!H" if size == _LENGTH_16 else "!Q"
            begin += struct.calcsize(layout)
            if begin > available:
                return
            size = struct.unpack_from(layout, data, at + 2)[0]
        if begin + size > available:
            return
        yield data[at] & 0x0F, begin, begin + size
        at = begin + size
