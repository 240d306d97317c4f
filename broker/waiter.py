"""Wait until a client's connection is readable or writable, or another thread ends the wait."""

import contextlib
import selectors
import socket
from typing import Any

from paho.mqtt import client as paho

from broker.connection import send_at_once


class Waiter:
    """Waits for one client's connection at a time, and for `wake`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def watch(self, client: paho.Client) -> None:
        """Register the connections of this client."""
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close

    def wait(self, client: paho.Client, seconds: float) -> None:
        """Wait up to `seconds`."""
        opened = client.socket()
        # TLS may hold decrypted bytes that no selector sees.
        pending = getattr(opened, "pending", None)
        timeout = 0.0 if pending is not None and pending() else seconds
        if opened is not None:
            writing = selectors.EVENT_WRITE if client.want_write() else 0
            self._selector.modify(opened, selectors.EVENT_READ | writing)
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(100)

    def wake(self) -> None:
        """End `wait`; any thread may call this."""
        with contextlib.suppress(OSError):  # already closed
            self._wake_writer.send(b"!")

    def close(self) -> None:
        """Close the selector and the sockets of `wake`."""
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _on_socket_open(self, client: paho.Client, data: Any, opened: Any) -> None:
        send_at_once(client, data, opened)
        self._selector.register(opened, selectors.EVENT_READ)

    def _on_socket_close(self, _: paho.Client, __: Any, closed: Any) -> None:
        self._selector.unregister(closed)
