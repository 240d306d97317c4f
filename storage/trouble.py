"""Whether the database accepts writes, and if not, why; logged once it lasts."""

import logging
import time

from storage.failures import FULL, READ_ONLY

logger = logging.getLogger(__name__)
LASTING_SECONDS = 1.0
"""Shorter failures, such as two writers in each other's way, are no trouble."""
QUIET_SECONDS = 5.0
"""On a full disk small transactions are still written between the others."""


class Trouble:
    """What keeps this process from writing."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why nothing can be written; None while it can."""
        self._since: float | None = None
        self._last = 0.0

    def failed(self, reason: str) -> None:
        """Note that a transaction was not written."""
        self._last = now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since >= LASTING_SECONDS and reason != self.reason:
            logger.warning("The database cannot be written: %s", reason)
            self.reason = reason

    def succeeded(self) -> None:
        """Note that a transaction was written."""
        if self._since is None:
            return
        if self.reason in (FULL, READ_ONLY) and time.monotonic() - self._last < QUIET_SECONDS:
            return
        if self.reason is not None:
            logger.info("The database can be written again")
        self.reason = self._since = None
