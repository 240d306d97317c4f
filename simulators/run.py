"""A run: a fleet's readings are published until the count is reached or someone ends it."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulators.fleet import Fleet
from simulators.progress import Progress

_LONGEST_WAIT = 0.2
_DRAIN_SECONDS = 2.0
_START_SECONDS = 30.0
_BATCH = 200
"""Readings that are published in one go: so long a command waits at most."""


@dataclass
class Run:
    """What is published, and how much of it."""

    fleet: Fleet
    progress: Progress
    count: int | None = None

    def until(self, stopped: Callable[[], bool]) -> None:
        """Publish until all is acknowledged, or until `stopped` and then up to 2 s for the acknowledgements."""
        self._start(stopped)
        tally = self.fleet.tally
        fault = ""
        while not stopped() and not (self._left() == 0 and tally.outstanding == 0):
            self.fleet.publish(min(self._left(), _BATCH))
            self.fleet.turn(min(self.fleet.wait(), _LONGEST_WAIT) if self._left() else _LONGEST_WAIT)
            fault = self._notice(fault)
        self._drain()
        self.progress.clear()

    def summary(self) -> str:
        """The final line."""
        tally = self.fleet.tally
        refused = f", refused {tally.refused}" if tally.refused else ""
        return f"published {tally.published}, acknowledged {tally.acknowledged}, invalid {tally.invalid}{refused}"

    def _start(self, stopped: Callable[[], bool]) -> None:
        """Let every board come online first, so that they take turns from the first message."""
        boards = len(self.fleet.boards)
        deadline = time.monotonic() + _START_SECONDS
        while self.fleet.online < boards and not stopped() and time.monotonic() < deadline:
            self.fleet.turn(_LONGEST_WAIT)
        if self.fleet.online < boards and not stopped():
            self.progress.note(f"only {self.fleet.online} of {boards} boards are online; the others go on trying")
        self.fleet.start()

    def _left(self) -> int:
        return sys.maxsize if self.count is None else self.count - self.fleet.tally.published

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.fleet.tally.outstanding and (left := deadline - time.monotonic()) > 0:
            self.fleet.turn(min(left, _LONGEST_WAIT))

    def _notice(self, before: str) -> str:
        fault = self.fleet.fault
        broker = f"away ({fault}), reconnecting" if fault else "connected"
        if bool(fault) != bool(before):
            self.progress.note(f"the broker is {broker}" if fault else "the broker is back")
        tally = self.fleet.tally
        self.progress.show(tally.published, tally.acknowledged, tally.invalid, broker)
        return fault
