"""Live push: events for the clients that are interested in them, from a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.notifier import ChangeSet, Notifier
from services.changes import ChangeReader
from services.feed import Event, LiveClient, wants
from services.pace import Pace
from services.pending_changes import POLL_SECONDS, PendingChanges

INTERVAL = 0.1
"""Seconds between two readings of one device."""
FLUSH_SECONDS = 0.02


class Hub:
    """Reads what is new and offers it to the clients; does nothing while there are none.

    `watch` is asked every second for events that do not come from the database's news.
    """

    def __init__(
        self,
        changes: ChangeReader,
        notifier: Notifier,
        watch: Callable[[], list[Event]] = list,
    ) -> None:
        self.changes = changes
        self._pending = PendingChanges(changes, notifier)
        self._watch = watch
        self._next_watch = 0.0
        self._lock = threading.Lock()
        self._joining = threading.Lock()
        self._clients: dict[int, LiveClient] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._pace = Pace(INTERVAL)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let all clients go."""
        self._stop.set()
        self._wake.set()

    def on_change(self, changes: ChangeSet) -> None:
        """Look soon at what is new."""
        if self._clients:
            self._pending.add(changes)
            self._wake.set()

    @contextmanager
    def joined(self, client: LiveClient) -> Iterator[None]:
        """Offer events to a client for a while. Raises Unavailable."""
        self.changes.ask()
        self.join(client)
        try:
            yield
        finally:
            self.leave(client)

    def join(self, client: LiveClient) -> None:
        """Offer events to a client from now on."""
        # Not under the other lock, for which the ingester would have to wait.
        with self._joining:
            if not self._clients:
                self.changes.skip()
            if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
                self.start()  # a fault had ended it, and all clients with it
            with self._lock:
                self._clients[id(client)] = client
        # While there was nobody, the thread slept without looking whether news arrive.
        self._wake.set()
        if self._stop.is_set():
            client.close()

    def leave(self, client: LiveClient) -> None:
        """Offer it no more."""
        with self._lock:
            self._clients.pop(id(client), None)

    def _run(self) -> None:
        congested = False
        try:
            while not self._stop.is_set():
                self._wake.wait(self._rest(congested))
                self._wake.clear()
                congested = self._turn()
        finally:
            for client in self._everyone():
                client.close()

    def _rest(self, congested: bool) -> float | None:
        if not self._clients:
            return None
        waits = [
            POLL_SECONDS,
            self._pace.wait(time.monotonic()),
            FLUSH_SECONDS if congested else None,
        ]
        return min(wait for wait in waits if wait is not None)

    def _turn(self) -> bool:
        """Offer what is new and due; whether a client could not take all of it."""
        now = time.monotonic()
        if not self._clients:
            self._pace = Pace(INTERVAL)  # what it holds back is old when the next client comes
            return False
        events = self._watched(now) + self._pending.read(now)
        states = [event for event in events if not event.stream]
        passed = states + self._pace.take((event for event in events if event.stream), now)
        # Whoever has come while that was read may have missed it: what a client missed is read when it has joined.
        clients = self._everyone()
        # All events to one client, then to the next: to change between them costs more than the events.
        for client in clients:
            for event in passed:
                if wants(client.interests, event):
                    client.offer(event)
        return sum(client.flush() for client in clients) > 0

    def _watched(self, now: float) -> list[Event]:
        if now < self._next_watch:
            return []
        self._next_watch = now + POLL_SECONDS
        return self._watch()

    def _everyone(self) -> list[LiveClient]:
        with self._lock:
            return list(self._clients.values())
