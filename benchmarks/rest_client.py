"""The HTTP load generator: `python -m benchmarks.rest_client`.

One thread keeps several keep-alive connections busy and counts the responses. Each connection has
one request in flight; the requests are encoded in advance.
"""

import argparse
import itertools
import json
import selectors
import socket
import time

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


def request(path: str) -> bytes:
    """Return an encoded GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def complete(response: bytes) -> bool:
    """Return whether the response is complete. Raises ConnectionError if it is not a 200."""
    end = response.find(_END)
    if end < 0:
        return False
    if not response.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"the server answered {response[:80]!r}")
    head = response[:end].lower()
    begin = head.index(_LENGTH) + len(_LENGTH)
    length = int(head[begin:].partition(b"\r\n")[0])
    return len(response) >= end + len(_END) + length


def drive(port: int, requests: list[bytes], connections: int, seconds: float) -> int:
    """Send the requests in turn for `seconds`; return the number of responses."""
    selector = selectors.DefaultSelector()
    cycle = itertools.cycle(requests)
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, bytearray())
        connection.sendall(next(cycle))
    answered = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(1):
            connection = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            received = connection.recv(65_536)
            if not received:
                raise ConnectionError("the server closed a connection")
            key.data.extend(received)
            if complete(key.data):
                key.data.clear()
                answered += 1
                connection.sendall(next(cycle))
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]  # as above
    return answered


def main() -> None:
    """Send requests and print the rate as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rest_client", description=main.__doc__
    )
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    requests = [request(path) for path in options.paths]
    before, started = time.process_time(), time.perf_counter()
    answered = drive(options.port, requests, options.connections, options.seconds)
    wall = time.perf_counter() - started
    share = (time.process_time() - before) / wall
    print(json.dumps({"rate": answered / wall, "own_cpu_share": share}))


if __name__ == "__main__":
    main()
