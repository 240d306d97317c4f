"""Many Socket.IO clients in one process and one thread: `python -m benchmarks.socket_clients PORT CLIENTS`.

Each connects by websocket and subscribes to a stream. The process prints one line when all have been told that they
are subscribed, receives until SIGTERM, and then prints, as JSON, what the clients hold; see `Held`.
It speaks Engine.IO 4 by hand: clients in Python that are made for use would take more time than the server.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import selectors
import signal
import socket
import struct
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Process, answer, python, running

TIMED = 50
"""Of so many clients, the first measures how old the readings are that it receives."""
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FIN = _MASKED = 0x80
_LENGTH_16 = 126
_READ_BYTES = 262_144
_CONNECT_SECONDS = 120.0
_READING = b'2["reading",'
_DEVICE = re.compile(rb'"device_id":"([^"]*)"')
_TIMESTAMP = re.compile(rb'"timestamp":"([^"]*)"')
_REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
Holding = Mapping[str, str]
"""The timestamp of the newest reading, by device."""


class Held(NamedTuple):
    """What the clients of a process had received."""

    connected: int
    """How many were still connected."""
    events: int
    """Readings received by all of them."""
    holdings: list[tuple[int, Holding]]
    """How many of the connected clients hold exactly this."""
    ages: list[float]
    """Milliseconds from a reading's timestamp to its arrival, at one client in `TIMED`."""
    cpu_share: float
    """Of one CPU, from the time at which all were subscribed."""

    def holding(self, newest: Holding) -> int:
        """How many of the connected clients hold exactly this."""
        return sum(clients for clients, held in self.holdings if held == newest)


@contextlib.contextmanager
def crowd(place: Path, port: int, clients: int) -> Iterator[Process]:
    """A process with so many clients, all of them subscribed. Raises RuntimeError when they cannot be."""
    with running(python("benchmarks.socket_clients", port, clients), place, {}) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"not all of {clients} Socket.IO clients could subscribe; see {place}/console.txt")
        yield process


def held(process: Process) -> Held:
    """End the process of a crowd; what its clients hold at this moment."""
    process.terminate()
    return Held(**answer(process, 60))


class Client:
    """One connection. `newest` is the newest reading of each device, as it was received."""

    def __init__(self, crowd: "Crowd", port: int, timed: bool) -> None:
        self.newest: dict[bytes, bytes] = {}
        self.events = 0
        self.subscribed = False
        self.socket, self._rest = _upgraded(port)
        self._crowd = crowd
        self._timed = timed

    def read(self) -> None:
        """Take what has arrived."""
        try:
            received = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if received:
            self.take(received)
        else:
            self._crowd.drop(self)

    def take(self, received: bytes) -> None:
        """Act on the complete frames; an incomplete one waits for the rest. Raises ConnectionError when refused."""
        data = self._rest + received if self._rest else received
        now, end = time.time(), 0
        for opcode, begin, end in frames(data):
            if opcode == _TEXT and data.startswith(b"4" + _READING, begin):
                self._reading(data[begin:end], now)
            elif opcode == _TEXT:
                self._control(data[begin:end])
            elif opcode == _PING:
                self._send(_PONG, data[begin:end])
            elif opcode == _CLOSE:
                self._crowd.drop(self)
                return
        self._rest = data[end:]

    def _reading(self, event: bytes, now: float) -> None:
        self.events += 1
        if match := _DEVICE.search(event):
            self.newest[match[1]] = event
        if self._timed:
            self._crowd.ages.append(1000 * (now - datetime.fromisoformat(timestamp(event)).timestamp()))

    def _control(self, packet: bytes) -> None:
        if packet == b"2":
            self._send(_TEXT, b"3")
        elif packet.startswith(b"0"):
            self._send(_TEXT, b"40")
        elif packet.startswith(b"40"):
            # The first 0 asks for an acknowledgement with this number.
            self._send(_TEXT, b'420["subscribe",{"stream":"%s"}]' % self._crowd.stream.encode())
        elif packet.startswith(b"430") and b'"error"' not in packet:
            self.subscribed = True
        elif not packet.startswith(b"42"):
            raise ConnectionError(f"the server sent {packet[:200]!r}")

    def _send(self, opcode: int, payload: bytes) -> None:
        # What a client sends is small: a full buffer means that the connection is dead.
        try:
            self.socket.sendall(frame(opcode, payload))
        except OSError:
            self._crowd.drop(self)


class Crowd:
    """All clients of this process; those that the server lets go are missing from `clients`."""

    def __init__(self, stream: str) -> None:
        self.clients: list[Client] = []
        self.ages = array("d")
        self.stream = stream
        self._selector = selectors.DefaultSelector()

    def open(self, port: int, number: int) -> None:
        """Open so many clients and wait until all are subscribed. Raises OSError."""
        for count in range(number):
            client = Client(self, port, timed=count % TIMED == 0)
            self.clients.append(client)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.take(b"")
            self._read(0)
        deadline = time.monotonic() + _CONNECT_SECONDS
        while (subscribed := sum(client.subscribed for client in self.clients)) < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{subscribed} of {number} clients are subscribed")
            self._read(0.1)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Receive until stopped."""
        while not stopped():
            self._read(0.2)

    def drop(self, client: Client) -> None:
        """Leave a client out whose connection is over."""
        if client in self.clients:
            self.clients.remove(client)
            self._selector.unregister(client.socket)
            client.socket.close()

    def holdings(self) -> list[tuple[int, Holding]]:
        """What the clients hold, and how many hold just that."""
        counts = Counter(tuple(sorted(client.newest.items())) for client in self.clients)
        return [
            (number, {name.decode(): timestamp(event) for name, event in newest}) for newest, number in counts.items()
        ]

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            key.data.read()


def timestamp(event: bytes) -> str:
    """The timestamp of a reading as it was received."""
    match = _TIMESTAMP.search(event)
    if match is None:
        raise ValueError(f"a reading without a timestamp: {event[:200]!r}")
    return match[1].decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's websocket frame. The mask is zero, which is a mask like any other and saves the work."""
    if len(payload) >= _LENGTH_16:
        raise ValueError("a client sends short frames only")
    return struct.pack("!BB", _FIN | opcode, _MASKED | len(payload)) + bytes(4) + payload


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """For each complete frame of a server: opcode, begin and end of the payload."""
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


def _upgraded(port: int) -> tuple[socket.socket, bytes]:
    """A connection that is a websocket, and what came with the answer. Raises ConnectionError."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=30)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.sendall(_REQUEST.format(port=port, key=base64.b64encode(os.urandom(16)).decode()).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        more = opened.recv(_READ_BYTES)
        if not more:
            break
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        opened.close()
        raise ConnectionError(f"the server answered {received[:200]!r}")
    opened.settimeout(0)
    return opened, rest


def main() -> None:
    """Subscribe, say so, receive until SIGTERM, and print what the clients hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.socket_clients", description=main.__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("--stream", default="sensors")
    options = parser.parse_args()
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    crowd = Crowd(options.stream)
    crowd.open(options.port, options.clients)
    print(json.dumps({"subscribed": len(crowd.clients)}), flush=True)
    before, started = time.process_time(), time.perf_counter()
    crowd.run(lambda: bool(ended))
    share = (time.process_time() - before) / (time.perf_counter() - started)
    events = sum(client.events for client in crowd.clients)
    print(json.dumps(Held(len(crowd.clients), events, crowd.holdings(), list(crowd.ages), share)._asdict()))


if __name__ == "__main__":
    main()
