"""Push events to interested live clients from a thread of its own."""

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
"""Least seconds between two readings of one device."""
FLUSH_SECONDS = 0.02


class Hub:
    """Reads changes and offers them to the clients; idle without clients.

    `watch` is called every second for events that do not come from change notifications.
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
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and close all clients."""
        self._stop.set()
        self._wake.set()

    def on_change(self, changes: ChangeSet) -> None:
        """Wake the hub."""
        if self._clients:
            self._pending.add(changes)
            self._wake.set()

    @contextmanager
    def joined(self, client: LiveClient) -> Iterator[None]:
        """Offer events to a client inside the context. Raises Unavailable."""
        self.changes.ask()
        self.join(client)
        try:
            yield
        finally:
            self.leave(client)

    def join(self, client: LiveClient) -> None:
        """Start offering events to a client."""
        # A lock of its own, so that the ingester does not wait for the other one.
        with self._joining:
            if not self._clients:
                self.changes.skip()
            if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
                self.start()  # an error had ended the thread and closed its clients
            with self._lock:
                self._clients[id(client)] = client
        # Without clients the thread sleeps and does not look for changes.
        self._wake.set()
        if self._stop.is_set():
            client.close()

    def leave(self, client: LiveClient) -> None:
        """Stop offering events to a client."""
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
        """Offer the events that are due; return whether a client could not take all of them."""
        now = time.monotonic()
        if not self._clients:
            self._pace = Pace(INTERVAL)  # events held back would be stale for the next client
            return False
        events = self._watched(now) + self._pending.read(now)
        states = [event for event in events if not event.stream]
        passed = states + self._pace.take((event for event in events if event.stream), now)
        # Listed after reading: a client that joins meanwhile has its missed events read afterwards.
        clients = self._everyone()
        # All events to one client, then to the next: switching costs more than the events.
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
