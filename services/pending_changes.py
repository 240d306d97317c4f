"""Changes that live clients have yet to see."""

import logging
import threading

from broker.notifier import ChangeSet, Notifier
from database import Unavailable
from services.changes import ChangeReader
from services.feed import Event
from utils.logger import Throttle

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
"""How often to poll without notifications, and how long to wait for an unavailable database."""


class PendingChanges:
    """Collects change notifications from any thread and reads their events."""

    def __init__(self, reader: ChangeReader, notifier: Notifier) -> None:
        self._reader = reader
        self._notifier = notifier
        self._lock = threading.Lock()
        self._pending = ChangeSet()
        self._next_poll = 0.0
        self._next_read = 0.0
        self._throttle = Throttle(seconds=10)

    def add(self, changes: ChangeSet) -> None:
        """Add a change notification."""
        with self._lock:
            self._pending.add(changes)

    def read(self, now: float) -> list[Event]:
        """Return the events of the changes; `now` is in monotonic seconds.

        While the database is unavailable there are none, and no change is lost.
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
