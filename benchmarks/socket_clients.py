"""Many Socket.IO clients in one thread: `python -m benchmarks.socket_clients PORT CLIENTS`.

Each client connects by websocket and subscribes to a stream. The process prints one line when the
server has confirmed all subscriptions, receives until SIGTERM, and then prints a `CrowdResult` as
JSON. It speaks Engine.IO 4 by hand: the usual Python clients would take more time than the server.
"""

import argparse
import contextlib
import json
import re
import selectors
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks import websocket
from benchmarks.processes import Process, answer, python, running

TIMED = 50
"""The first of every 50 clients measures the age of the readings that it receives."""
_CONNECT_SECONDS = 120.0
_READING = b'2["reading",'
_DEVICE = re.compile(rb'"device_id":"([^"]*)"')
_TIMESTAMP = re.compile(rb'"timestamp":"([^"]*)"')
NewestByDevice = Mapping[str, str]
"""The timestamp of the newest reading, by device."""


class CrowdResult(NamedTuple):
    """What the clients of a process received."""

    connected: int
    """Number of clients that were still connected."""
    events: int
    """Readings received by all clients together."""
    holdings: list[tuple[int, NewestByDevice]]
    """Number of connected clients for each distinct set of newest readings."""
    ages: list[float]
    """Milliseconds from a reading's timestamp to its arrival, at one client in `TIMED`."""
    cpu_share: float
    """Share of one CPU, from the time at which all clients were subscribed."""

    def count_holding(self, newest: NewestByDevice) -> int:
        """Return how many of the connected clients hold exactly these newest readings."""
        return sum(clients for clients, held in self.holdings if held == newest)


@contextlib.contextmanager
def crowd(folder: Path, port: int, clients: int) -> Iterator[Process]:
    """Run a process with `clients` subscribed clients. Raises RuntimeError if one fails."""
    command = python("benchmarks.socket_clients", port, clients)
    with running(command, folder, {}) as process:
        if process.stdout is None or not process.stdout.readline():
            console = folder / "console.txt"
            raise RuntimeError(
                f"not all of {clients} Socket.IO clients could subscribe; see {console}"
            )
        yield process


def finish(process: Process) -> CrowdResult:
    """End the process of a crowd and return its result."""
    process.terminate()
    return CrowdResult(**answer(process, 60))


class CrowdClient:
    """One connection of a crowd."""

    def __init__(self, crowd: "Crowd", port: int, timed: bool) -> None:
        self.newest: dict[bytes, bytes] = {}
        """The newest reading of each device, as received."""
        self.events = 0
        self.subscribed = False
        self.socket, self._rest = websocket.upgraded(port)
        self._crowd = crowd
        self._timed = timed

    def read(self) -> None:
        """Receive and handle the available data."""
        try:
            received = self.socket.recv(websocket.READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if received:
            self.handle(received)
        else:
            self._crowd.drop(self)

    def handle(self, received: bytes) -> None:
        """Handle the complete frames and keep the rest. Raises ConnectionError if refused."""
        data = self._rest + received if self._rest else received
        now, end = time.time(), 0
        for opcode, begin, end in websocket.frames(data):
            if opcode == websocket.TEXT and data.startswith(b"4" + _READING, begin):
                self._handle_reading(data[begin:end], now)
            elif opcode == websocket.TEXT:
                self._handle_control(data[begin:end])
            elif opcode == websocket.PING:
                self._send(websocket.PONG, data[begin:end])
            elif opcode == websocket.CLOSE:
                self._crowd.drop(self)
                return
        self._rest = data[end:]

    def _handle_reading(self, event: bytes, now: float) -> None:
        self.events += 1
        if match := _DEVICE.search(event):
            self.newest[match[1]] = event
        if self._timed:
            sent_at = datetime.fromisoformat(timestamp(event)).timestamp()
            self._crowd.ages.append(1000 * (now - sent_at))

    def _handle_control(self, packet: bytes) -> None:
        if packet == b"2":
            self._send(websocket.TEXT, b"3")
        elif packet.startswith(b"0"):
            self._send(websocket.TEXT, b"40")
        elif packet.startswith(b"40"):
            # The first 0 requests an acknowledgement with this number.
            subscribe = b'420["subscribe",{"stream":"%s"}]' % self._crowd.stream.encode()
            self._send(websocket.TEXT, subscribe)
        elif packet.startswith(b"430") and b'"error"' not in packet:
            self.subscribed = True
        elif not packet.startswith(b"42"):
            raise ConnectionError(f"the server sent {packet[:200]!r}")

    def _send(self, opcode: int, payload: bytes) -> None:
        # A client sends little, so a full buffer means that the connection is dead.
        try:
            self.socket.sendall(websocket.frame(opcode, payload))
        except OSError:
            self._crowd.drop(self)


class Crowd:
    """The connected clients of this process; `drop` removes clients that the server disconnects."""

    def __init__(self, stream: str) -> None:
        self.clients: list[CrowdClient] = []
        self.ages = array("d")
        self.stream = stream
        self._selector = selectors.DefaultSelector()

    def open(self, port: int, number: int) -> None:
        """Open `number` clients and wait until all are subscribed. Raises OSError."""
        for count in range(number):
            client = CrowdClient(self, port, timed=count % TIMED == 0)
            self.clients.append(client)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.handle(b"")
            self._read(0)
        deadline = time.monotonic() + _CONNECT_SECONDS
        while (subscribed := sum(client.subscribed for client in self.clients)) < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{subscribed} of {number} clients are subscribed")
            self._read(0.1)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Receive until `stopped` returns true."""
        while not stopped():
            self._read(0.2)

    def drop(self, client: CrowdClient) -> None:
        """Remove a disconnected client and close its socket."""
        if client in self.clients:
            self.clients.remove(client)
            self._selector.unregister(client.socket)
            client.socket.close()

    def holdings(self) -> list[tuple[int, NewestByDevice]]:
        """Return each distinct set of newest readings with the number of clients that hold it."""
        counts = Counter(tuple(sorted(client.newest.items())) for client in self.clients)
        return [(number, _timestamps(newest)) for newest, number in counts.items()]

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            key.data.read()


def _timestamps(newest: tuple[tuple[bytes, bytes], ...]) -> NewestByDevice:
    return {device.decode(): timestamp(event) for device, event in newest}


def timestamp(event: bytes) -> str:
    """Return the timestamp of a reading as received. Raises ValueError if it has none."""
    match = _TIMESTAMP.search(event)
    if match is None:
        raise ValueError(f"a reading without a timestamp: {event[:200]!r}")
    return match[1].decode()


def main() -> None:
    """Subscribe, receive until SIGTERM, and print the result as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.socket_clients", description=main.__doc__
    )
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("--stream", default="sensors")
    options = parser.parse_args()
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    crowd = Crowd(options.stream)
    crowd.open(options.port, options.clients)
    print(json.dumps({"subscribed": len(crowd.clients)}), flush=True)
    before, started = time.process_time(), time.perf_counter()
    crowd.run(lambda: bool(signals))
    result = CrowdResult(
        connected=len(crowd.clients),
        cpu_share=(time.process_time() - before) / (time.perf_counter() - started),
        events=sum(client.events for client in crowd.clients),
        holdings=crowd.holdings(),
        ages=list(crowd.ages),
    )
    print(json.dumps(result._asdict()))


if __name__ == "__main__":
    main()
