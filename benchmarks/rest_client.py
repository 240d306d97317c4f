"""The HTTP load: `python -m benchmarks.rest_client` keeps several connections busy and counts the answers.

One thread, keep-alive sockets, one request under way on each; the requests are encoded ahead.
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
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def complete(answer: bytes) -> bool:
    """Whether the answer is whole. Raises ConnectionError when it is not a 200."""
    end = answer.find(_END)
    if end < 0:
        return False
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"the server answered {answer[:80]!r}")
    head = answer[:end].lower()
    begin = head.index(_LENGTH) + len(_LENGTH)
    length = int(head[begin:].partition(b"\r\n")[0])
    return len(answer) >= end + len(_END) + length


def drive(port: int, requests: list[bytes], connections: int, seconds: float) -> int:
    """Ask for so long, going through the requests in turn; return how many answers there were."""
    selector = selectors.DefaultSelector()
    following = itertools.cycle(requests)
    for _ in range(connections):
        opened = socket.create_connection(("127.0.0.1", port), timeout=30)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(opened, selectors.EVENT_READ, bytearray())
        opened.sendall(next(following))
    answered = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(1):
            opened = key.fileobj  # type: ignore[assignment]  # sockets are what was registered
            received = opened.recv(65_536)
            if not received:
                raise ConnectionError("the server closed a connection")
            key.data.extend(received)
            if complete(key.data):
                key.data.clear()
                answered += 1
                opened.sendall(next(following))
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]  # as above
    return answered


def main() -> None:
    """Ask, and print what happened as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rest_client", description=main.__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    requests = [request(path) for path in options.paths]
    before, started = time.process_time(), time.perf_counter()
    answered = drive(options.port, requests, options.connections, options.seconds)
    wall = time.perf_counter() - started
    print(json.dumps({"rate": answered / wall, "own_cpu_share": (time.process_time() - before) / wall}))


if __name__ == "__main__":
    main()
