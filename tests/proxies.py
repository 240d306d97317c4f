"""Servers in the process of a test, and a proxy that can cut single connections."""

import contextlib
import socket
import threading
from typing import Self


class LocalServer:
    """Listens on a port of its own for a `with` block, and serves each connection in a thread."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._server.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.end()
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def serve(self, opened: socket.socket) -> None:
        """Serve a connection until it ends; close it."""
        raise NotImplementedError

    def end(self) -> None:
        """End the connections that do not end by themselves."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                opened = self._server.accept()[0]
                self._threads.append(threading.Thread(target=self.serve, args=(opened,)))
                self._threads[-1].start()


class Way(LocalServer):
    """A proxy of a broker in this process, which can cut single connections."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._broker = port
        self._pairs: dict[bytes, tuple[socket.socket, socket.socket]] = {}
        """The two ends of each connection, by its first packet."""
        self._forgotten: list[socket.socket] = []

    def end(self) -> None:
        """End all connections."""
        self.remember()
        self.cut(b"")

    def cut(self, part: bytes) -> None:
        """Cut every connection with this in its first packet."""
        for near, far in self._with(part):
            _shut(near)
            _shut(far)

    def forget(self, part: bytes) -> None:
        """Do the same as when a cable breaks: the broker does not notice it before `remember`."""
        for near, far in self._with(part):
            self._forgotten.append(far)
            _shut(near)

    def remember(self) -> None:
        """Let the broker notice."""
        for far in self._forgotten:
            _shut(far)

    def serve(self, opened: socket.socket) -> None:
        """Pass on what both ends send."""
        with opened as near, socket.create_connection(("127.0.0.1", self._broker)) as far:
            first = near.recv(65536)
            self._pairs[first + str(near.getpeername()).encode()] = (near, far)
            far.sendall(first)
            other = threading.Thread(target=self._pass_on, args=(far, near))
            other.start()
            self._pass_on(near, far)
            other.join(60)

    def _with(self, part: bytes) -> list[tuple[socket.socket, socket.socket]]:
        return [pair for first, pair in list(self._pairs.items()) if part in first]

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        if sink not in self._forgotten:
            _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
