"""The lines that the log has of what became of messages."""

import logging

from ingest.message import Reading
from ingest.outcome import Outcome
from utils.logger import Throttle

logger = logging.getLogger(__name__)
UNREAD_SECONDS = 60.0
"""Between two warnings about one stream; a broken sensor sends what cannot be read all the time."""


class OutcomeLog:
    """Warns of rejected messages, and of values that could not be read."""

    def __init__(self) -> None:
        self._rejections = Throttle()
        self._unread = Throttle(UNREAD_SECONDS)

    def write(self, outcome: Outcome) -> None:
        """Warn of what is wrong with the messages of a batch."""
        for rejection in outcome.rejections:
            topic, reason = rejection.message.topic, rejection.reason
            line = f"Rejected a message on {topic!r}: {reason}: {rejection.text}"
            self._rejections.warn(logger, reason, line)
        for item in outcome.parsed:
            if isinstance(item, Reading) and item.unread:
                unread = "; ".join(item.unread)
                line = f"{item.stream.name}: {item.device_id}: stored without a value: {unread}"
                self._unread.warn(logger, item.stream.name, line)
