"""Socket.IO clients, which get events while they keep up and the newest ones once they catch up."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE, Packet
from socketio import Server

from database import Unavailable
from services.feed import EVERYONE, Backlog, Event, Interest

logger = logging.getLogger(__name__)
MAX_QUEUED = 12
"""Packets queued in Engine.IO per client.

With a ping and answers this stays below the 16 that a client in Python takes.
"""
MAX_INTERESTS = 1_000
MAX_MISSED = 20
RETRY_SECONDS = 0.02


class SocketClient:
    """One connection, with a thread of Engine.IO for sending, so that no caller waits for it."""

    def __init__(
        self, server: Server, sid: str, interests: Iterable[Interest] = (), root: str = ""
    ) -> None:
        self.interests = frozenset(interests)
        self._root = root
        self._engine = server.eio
        self._engine_sid = server.manager.eio_sid_from_sid(sid, "/")
        self._lock = threading.Lock()
        self._waiting = Backlog()
        self._missed: deque[Iterable[Event]] = deque()
        self._catching_up = False

    def subscribe(self, interest: Interest, missed: Iterable[Event] | None = None) -> None:
        """Add an interest, and first send the missed events. Raises ValueError at a limit."""
        if len(self.interests - {EVERYONE}) >= MAX_INTERESTS:
            raise ValueError(
                f"at most {MAX_INTERESTS} subscriptions; "
                "subscribe to a stream without device_id instead"
            )
        with self._lock:
            if missed is not None:
                if len(self._missed) >= MAX_MISSED:
                    raise ValueError(
                        "since: missed events of earlier subscriptions "
                        "are still being sent; try later"
                    )
                self._missed.append(missed)
                if not self._catching_up:
                    self._catching_up = True
                    threading.Thread(target=self._catch_up, name="catch-up", daemon=True).start()
            self.interests |= {interest}

    def offer(self, event: Event) -> None:
        """Send an event, or keep it; it replaces an older one with the same key."""
        with self._lock:
            if self._waiting or self._catching_up or not self._send(event):
                self._waiting.put(event)

    def flush(self) -> bool:
        """Send the kept events as far as possible; return whether some are left."""
        with self._lock:
            if self._waiting and not self._catching_up:
                for event in self._waiting.in_order():
                    if not self._send(event):
                        break
                    self._waiting.remove(event)
            return bool(self._waiting)

    def close(self) -> None:
        """End the connection; the client reconnects and requests what it missed."""
        if engine := self._engine.sockets.get(self._engine_sid):
            engine.close(wait=False)

    def _catch_up(self) -> None:
        """Send missed events, one subscription after the other; newer events wait."""
        try:
            while (missed := self._next_missed()) is not None:
                for event in missed:
                    while not self._send(event):
                        time.sleep(RETRY_SECONDS)
                    if self._gone():
                        return
        except Unavailable as error:
            logger.warning("Closing a live client, so that it reconnects and catches up: %s", error)
            self.close()

    def _next_missed(self) -> Iterable[Event] | None:
        with self._lock:
            self._catching_up = bool(self._missed)
            return self._missed.popleft() if self._missed else None

    def _gone(self) -> bool:
        return self._engine_sid not in self._engine.sockets

    def _send(self, event: Event) -> bool:
        """Return whether the event is done: it was queued, or the client is gone."""
        engine = self._engine.sockets.get(self._engine_sid)
        if engine is None:
            return True
        if engine.queue.qsize() >= MAX_QUEUED:
            return False
        try:
            self._engine.send_packet(self._engine_sid, _packet(event.below(self._root)))
        except SocketIsClosedError:
            logger.debug("A live client has just disconnected")
        return True


@lru_cache(maxsize=100)
def _packet(event: Event) -> Packet:
    # Encoded once for all clients: the Socket.IO packet EVENT (2) of the namespace "/".
    return Packet(MESSAGE, data=f'2["{event.name}",{event.json}]')
