"""Log lines about rejected messages and unreadable values."""

import logging

from ingest.outcome import Outcome
from utils.logger import Throttle

logger = logging.getLogger(__name__)
UNREAD_SECONDS = 60.0
"""Seconds between two warnings about a stream; a broken sensor sends bad values all the time."""


class OutcomeLog:
    """Warns of rejected messages and of unreadable values."""

    def __init__(self) -> None:
        self._rejections = Throttle()
        self._unread = Throttle(UNREAD_SECONDS)

    def write(self, outcome: Outcome) -> None:
        """Warn of the rejected messages and the unreadable values of a batch."""
        for rejection in outcome.rejections:
            topic, reason = rejection.message.topic, rejection.reason
            line = f"Rejected a message on {topic!r}: {reason}: {rejection.text}"
            self._rejections.warn(logger, reason, line)
        for reading in outcome.parsed_readings():
            if reading.faults and reading.unread:
                stream, unread = reading.stream.name, "; ".join(reading.unread)
                line = f"{stream}: {reading.device_id}: stored without a value: {unread}"
                self._unread.warn(logger, stream, line)
