"""Dial many connections: a few at a time, and one at a time while the broker is away."""

import time
from collections import OrderedDict
from typing import Protocol

from broker.backoff import Backoff
from broker.loop import Loop

FIRST_DELAY = 1.0
LONGEST_DELAY = 10.0
"""Also how long a connection must last before its own backoff is reset."""
JITTER = 0.25
"""The largest share by which a delay is shortened."""
_ANSWER_SECONDS = 10.0
_AT_ONCE = 50
_SHARE = 0.01
"""Seconds of a turn for dialing, so that open connections do not have to wait."""


def reason(error: Exception) -> str:
    """Return the text of an error."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error) or type(error).__name__


class Dialable(Protocol):
    """A connection that can be dialed."""

    def dial(self) -> None:
        """Open the connection; the broker's answer comes later. Raises OSError."""

    def give_up(self, error: str) -> None:
        """End an unanswered attempt; report the failure to the dialer."""


class Dialer:
    """Connects in the order of requests, and waits after a failure."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: OrderedDict[Dialable, None] = OrderedDict()
        self._refused: OrderedDict[Dialable, None] = OrderedDict()
        """Failed connections, retried last so that permanent failures do not starve the rest."""
        self._under_way: dict[Dialable, float] = {}
        """Connections that were dialed, and when."""
        self._accepted: dict[Dialable, float] = {}
        """Connections that are open, and since when."""
        # One for each connection that the broker accepted and soon ended.
        self._backoffs: dict[Dialable, Backoff] = {}
        self._resting: set[Dialable] = set()
        self._scheduled = False
        self._stopped = False
        self._backoff = Backoff(FIRST_DELAY, LONGEST_DELAY, JITTER)
        self.error = ""
        """Why a connection was lost or refused, until another one succeeds."""
        self.failures = 0
        """Failed attempts since the last success; simultaneous ones count as one."""

    def want(self, connection: Dialable) -> None:
        """Request a connection."""
        self._waiting[connection] = None
        self._schedule()

    def connected(self, connection: Dialable) -> None:
        """Record that the broker accepted a connection."""
        self._under_way.pop(connection, None)
        self._accepted[connection] = time.monotonic()
        self._recover()
        self._schedule()

    def failed(self, connection: Dialable, error: str) -> None:
        """Record that a connection was lost or refused; retry it after a delay."""
        now = time.monotonic()
        attempt = self._under_way.pop(connection, None)
        accepted = self._accepted.pop(connection, None)
        if attempt is None and accepted is None:
            return  # removed by `forget`
        self.error = error
        if accepted is not None:
            if now - accepted < LONGEST_DELAY:
                self._rest(connection)
                return
            self._backoffs.pop(connection, None)
        if self._backoff.due():
            self.failures += attempt is not None
            self._backoff.failed()
        (self._waiting if attempt is None else self._refused)[connection] = None
        self._schedule()

    def forget(self, connection: Dialable) -> None:
        """Stop connecting this one."""
        for known in (self._waiting, self._refused, self._under_way, self._accepted):
            known.pop(connection, None)
        self._backoffs.pop(connection, None)
        self._resting.discard(connection)
        if not (self._waiting or self._refused or self._under_way or self._resting):
            self._recover()
        self._schedule()

    def stop(self) -> None:
        """Open no further connections."""
        self._stopped = True

    def _recover(self) -> None:
        self.error, self.failures = "", 0
        self._backoff.reset()

    def _rest(self, connection: Dialable) -> None:
        """Retry this connection later: the broker is reachable, and ends only this connection."""
        new = Backoff(FIRST_DELAY, LONGEST_DELAY, JITTER)
        delay = self._backoffs.setdefault(connection, new).failed()
        self._resting.add(connection)

        def rested() -> None:
            if connection in self._resting:
                self._resting.discard(connection)
                self.want(connection)

        self._loop.call_in(delay, rested)

    def _schedule(self) -> None:
        most = 1 if self.error else _AT_ONCE
        if (
            self._scheduled
            or self._stopped
            or not (self._waiting or self._refused)
            or len(self._under_way) >= most
        ):
            return
        self._scheduled = True
        self._loop.call_in(self._backoff.remaining, self._dial)

    def _dial(self) -> None:
        self._scheduled = False
        end = time.monotonic() + _SHARE
        most = 1 if self.error else _AT_ONCE
        while (
            (queue := self._waiting or self._refused)
            and len(self._under_way) < most
            and not self._stopped
        ):
            connection, _ = queue.popitem(last=False)
            self._under_way[connection] = time.monotonic()
            try:
                connection.dial()
            except OSError as error:
                self.failed(connection, reason(error))
                return
            self._expect_answer(connection)
            if time.monotonic() > end:
                break
        self._schedule()

    def _expect_answer(self, connection: Dialable) -> None:
        dialed = self._under_way.get(connection)

        def give_up() -> None:
            if dialed is not None and self._under_way.get(connection) == dialed:
                connection.give_up(f"no answer within {_ANSWER_SECONDS:.0f} s")

        self._loop.call_in(_ANSWER_SECONDS, give_up)
