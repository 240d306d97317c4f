"""The backlog of live push: changes that live clients have yet to see."""

import logging
import threading

from broker.notifier import ChangeSet, Notifier
from database import Unavailable
from services.changes import ChangeReader
from services.feed import Event
from utils.logger import Throttle

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
"""How often to look for changes where none arrive, and how long to wait for a database that is away."""


class PendingChanges:
    """Collects notifications of changes, from any thread, and reads what they are about."""

    def __init__(self, reader: ChangeReader, notifier: Notifier) -> None:
        self._reader = reader
        self._notifier = notifier
        self._lock = threading.Lock()
        self._pending = ChangeSet()
        self._next_poll = 0.0
        self._next_read = 0.0
        self._throttle = Throttle(seconds=10)

    def add(self, changes: ChangeSet) -> None:
        """Add a notification."""
        with self._lock:
            self._pending.add(changes)

    def read(self, now: float) -> list[Event]:
        """The events of what has changed; `now` is in monotonic seconds.

        While the database is away there are none, and nothing is forgotten.
        """
        if now < self._next_read:
            return []
        changes = self._take(now)
        if not changes:
            return []
        try:
            return self._reader.read(changes)
        except (Unavailable, ValueError) as error:
            self._throttle.warn(logger, "read", f"Live clients wait for the database: {error}")
            self._next_read = now + POLL_SECONDS
            self.add(ChangeSet(everything=True))
            return []

    def _take(self, now: float) -> ChangeSet:
        with self._lock:
            changes, self._pending = self._pending, ChangeSet()
        if not self._notifier.listening and now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            changes.everything = True
        return changes
