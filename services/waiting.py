"""Hold requests until their command changes, without polling."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator

from broker.notifier import ChangeSet


class Waiting:
    """Wakes the requests that wait for a command when its change notification arrives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, list[threading.Event]] = defaultdict(list)

    def on_change(self, changes: ChangeSet) -> None:
        """Wake the requests that a change may concern."""
        with self._lock:
            ids = list(self._events) if changes.everything else changes.commands
            for command_id in ids:
                for event in self._events.get(command_id, ()):
                    event.set()

    @contextlib.contextmanager
    def on(self, command_id: str) -> Iterator[threading.Event]:
        """Return an event that is set on every change notification of this command."""
        event = threading.Event()
        with self._lock:
            self._events[command_id].append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._events[command_id].remove(event)
                if not self._events[command_id]:
                    del self._events[command_id]


class HeldRequests:
    """Limits how many requests are held at a time."""

    def __init__(self, most: int) -> None:
        self._slots = threading.Semaphore(most)

    @contextlib.contextmanager
    def slot(self) -> Iterator[bool]:
        """Take a slot while the request is held; False if none is free."""
        taken = self._slots.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._slots.release()
