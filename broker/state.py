"""The state of a connection, for health and the log."""

import logging

from utils.clock import now

logger = logging.getLogger(__name__)


class ConnectionState:
    """Whether a client is connected and subscribed, and if not, why.

    `subscribed` is the line for the log once it is.
    """

    def __init__(self, subscribed: str) -> None:
        self.connected = False
        self.subscribed = False
        self.problem: str | None = "not connected yet"
        self.changed_at = now()
        self._subscribed = subscribed

    def set_subscribed(self) -> None:
        """Record that the session has the wanted filters and no others."""
        if self._change(connected=True, subscribed=True, problem=None):
            logger.info("%s", self._subscribed)

    def set_unsubscribed(self, problem: str) -> None:
        """Record that the broker has accepted the connection, and what else is missing."""
        self._change(connected=True, subscribed=False, problem=problem)

    def set_disconnected(self, problem: str) -> None:
        """Record that there is no connection, and why."""
        if self._change(connected=False, subscribed=False, problem=problem):
            logger.warning("MQTT: %s", problem)

    def _change(self, *, connected: bool, subscribed: bool, problem: str | None) -> bool:
        before = (self.connected, self.subscribed, self.problem)
        if (connected, subscribed, problem) == before:
            return False
        self.connected, self.subscribed, self.problem = connected, subscribed, problem
        self.changed_at = now()
        return True
