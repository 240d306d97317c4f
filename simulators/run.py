"""A run: messages from a fleet to a publisher at a pace, until the count is reached or someone ends it."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulators.fleet import Fleet
from simulators.pace import Pace
from simulators.progress import Progress
from simulators.publisher import Publisher

_LONGEST_WAIT = 0.2
_DRAIN_SECONDS = 2.0


@dataclass
class Run:
    """What is published to where, and how much of it."""

    fleet: Fleet
    publisher: Publisher
    pace: Pace
    progress: Progress
    count: int | None = None
    invalid: int = 0
    """How many of the published messages are broken on purpose."""

    def until(self, stopped: Callable[[], bool]) -> None:
        """Publish until all is acknowledged, or until `stopped` and then up to 2 s for the acknowledgements."""
        connected = True
        while not stopped() and not (self._left() == 0 and self.publisher.outstanding == 0):
            self._publish_due()
            self.publisher.turn(self._wait())
            connected = self._notice(connected)
            self.progress.show(self.publisher.published, self.publisher.acknowledged, self.invalid, self._broker())
        self._drain()
        self.progress.clear()

    def summary(self) -> str:
        """The final line."""
        publisher = self.publisher
        refused = f", refused {publisher.refused}" if publisher.refused else ""
        return (
            f"published {publisher.published}, acknowledged {publisher.acknowledged}, invalid {self.invalid}{refused}"
        )

    def _left(self) -> int:
        return sys.maxsize if self.count is None else self.count - self.publisher.published

    def _publish_due(self) -> None:
        for _ in range(min(self.publisher.room, self.pace.due(), self._left())):
            message = self.fleet.next(self.pace.step())
            self.publisher.publish(message.topic, message.payload)
            self.invalid += message.invalid

    def _wait(self) -> float:
        waits_for_broker = not self.publisher.room or not self._left()
        return _LONGEST_WAIT if waits_for_broker else min(self.pace.wait(), _LONGEST_WAIT)

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.publisher.outstanding and (left := deadline - time.monotonic()) > 0:
            self.publisher.turn(min(left, _LONGEST_WAIT))

    def _notice(self, connected: bool) -> bool:
        if connected != self.publisher.connected:
            self.progress.note("the broker is back" if self.publisher.connected else f"the broker is {self._broker()}")
        return self.publisher.connected

    def _broker(self) -> str:
        return "connected" if self.publisher.connected else f"away ({self.publisher.fault}), reconnecting"
