"""The loop that drives many MQTT connections in one thread: one selector, and calls that are due at a time."""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho

from broker.connection import send_at_once

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """Waits for sockets and for times. Nothing happens between the turns."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def call_in(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, in so many seconds; also for 0 not before the next turn."""
        heapq.heappush(self._calls, (time.monotonic() + seconds, next(self._order), call))

    def watch(self, descriptor: int, ready: Callable[[], None], writing: bool = False) -> None:
        """Call `ready` whenever the socket can be read, or if `writing` also when it can be written."""
        events = _READ | _WRITE if writing else _READ
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, ready)
        else:
            self._selector.register(descriptor, events, ready)

    def forget(self, descriptor: int) -> None:
        """Watch a socket no longer; it is about to be closed."""
        self._selector.unregister(descriptor)

    def turn(self, timeout: float) -> None:
        """Make the calls that are due, then wait up to `timeout` seconds for a socket."""
        self._call_due()
        if self._calls:
            timeout = min(timeout, max(0.0, self._calls[0][0] - time.monotonic()))
        for key, _ in self._selector.select(timeout):
            # One that was called before it in this turn may have closed it.
            if key.fd in self._selector.get_map():
                key.data()

    def close(self) -> None:
        """Let go of the selector; the connections are closed before."""
        self._selector.close()

    def _call_due(self) -> None:
        now = time.monotonic()
        while self._calls and self._calls[0][0] <= now:
            heapq.heappop(self._calls)[2]()


class Driver:
    """Has a loop read and write for a paho client, by way of paho's external event loop."""

    def __init__(self, client: paho.Client, loop: Loop, *, at_once: bool) -> None:
        self._client = client
        self._loop = loop
        self._at_once = at_once
        self._writing = False
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write

    def _ready(self) -> None:
        self._client.loop_read()
        # TLS may have decrypted data that the selector cannot see.
        while (sock := self._client.socket()) and hasattr(sock, "pending") and sock.pending():
            self._client.loop_read()
        if self._writing or self._client.want_write():
            self._write()

    def _write(self) -> None:
        self._client.loop_write()
        sock = self._client.socket()
        if sock and self._writing != self._client.want_write():
            self._writing = not self._writing
            self._loop.watch(sock.fileno(), self._ready, self._writing)

    def _on_socket_open(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._writing = False
        # What is closed must have been watched, also if the other fails.
        self._loop.watch(sock.fileno(), self._ready)
        if self._at_once:
            send_at_once(client, data, sock)

    def _on_socket_close(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        self._loop.forget(sock.fileno())

    def _on_socket_register_write(self, _client: paho.Client, _data: Any, _sock: Any) -> None:
        self._loop.call_in(0, self._write)
