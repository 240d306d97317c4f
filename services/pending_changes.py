"""The backlog of live push: changes that live clients have yet to see."""

import logging
import threading

from broker.notices import News, Notices
from database import Unavailable
from services.changes import Changes
from services.feed import Event
from utils.logger import Throttle

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
"""How often to look for news where none arrive, and how long to wait for a database that is away."""


class PendingChanges:
    """Collects notifications of changes, from any thread, and reads what they are about."""

    def __init__(self, changes: Changes, notices: Notices) -> None:
        self._changes = changes
        self._notices = notices
        self._lock = threading.Lock()
        self._news = News()
        self._next_poll = 0.0
        self._next_read = 0.0
        self._throttle = Throttle(seconds=10)

    def add(self, news: News) -> None:
        """Add a notification."""
        with self._lock:
            self._news.add(news)

    def read(self, now: float) -> list[Event]:
        """The events of what has changed; `now` is in monotonic seconds.

        While the database is away there are none, and nothing is forgotten.
        """
        if now < self._next_read:
            return []
        news = self._take(now)
        if not news:
            return []
        try:
            return self._changes.read(news)
        except (Unavailable, ValueError) as error:
            self._throttle.warn(logger, "read", f"Live clients wait for the database: {error}")
            self._next_read = now + POLL_SECONDS
            self.add(News(everything=True))
            return []

    def _take(self, now: float) -> News:
        with self._lock:
            news, self._news = self._news, News()
        if not self._notices.listening and now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            news.everything = True
        return news
