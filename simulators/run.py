"""A run: a fleet takes and delivers readings until the count is reached or it is stopped."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulators.fleet import Fleet
from simulators.progress import Progress

_LONGEST_WAIT = 0.2
_DRAIN_SECONDS = 5.0
_START_SECONDS = 30.0
_BATCH = 200
"""Readings taken at once; a command waits for no more than these."""


@dataclass
class Run:
    """A fleet, and how many readings it takes."""

    fleet: Fleet
    progress: Progress
    count: int | None = None

    def until(self, stopped: Callable[[], bool]) -> None:
        """Run until all readings are delivered; after `stopped`, deliver the rest for up to 5 s."""
        self._start(stopped)
        tally = self.fleet.tally
        news = (False, False)
        while not stopped() and (self._left() or tally.outstanding):
            self.fleet.measure(min(self._left(), _BATCH))
            if not self._left() and self.fleet.over_http:
                self.fleet.post_rest()
            self.fleet.turn(
                min(self.fleet.wait(), _LONGEST_WAIT) if self._left() else _LONGEST_WAIT
            )
            news = self._notice(news)
        self._drain()
        self.progress.clear()

    def _start(self, stopped: Callable[[], bool]) -> None:
        """Wait until every board is online, so that they take turns from the first message."""
        boards = len(self.fleet.boards)
        deadline = time.monotonic() + _START_SECONDS

        def waiting() -> bool:
            return self.fleet.online < boards and not (stopped() or self.fleet.over_http)

        while waiting() and time.monotonic() < deadline:
            self.fleet.turn(_LONGEST_WAIT)
        if waiting():
            self.progress.note(
                f"only {self.fleet.online} of {boards} boards are online; the others keep trying"
            )
        self.fleet.start()

    def _left(self) -> int:
        return sys.maxsize if self.count is None else self.count - self.fleet.tally.measured

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.fleet.tally.outstanding and (left := deadline - time.monotonic()) > 0:
            self.fleet.post_rest()
            self.fleet.turn(min(left, _LONGEST_WAIT))

    def _notice(self, before: tuple[bool, bool]) -> tuple[bool, bool]:
        """Print when the broker goes away, when readings are posted, and when it is back."""
        error, over_http = self.fleet.error, self.fleet.over_http
        broker = "connected"
        if error:
            broker = f"away ({error}), {'over HTTP' if over_http else 'reconnecting'}"
        news = (bool(error), over_http)
        if news != before and over_http:
            self.progress.note(
                f"the broker is away ({error}): readings go to {self.fleet.backend.url} over HTTP"
            )
        elif news != before:
            self.progress.note(f"the broker is {broker}" if error else "the broker is back")
        self.progress.show(self.fleet.tally, broker)
        return news
