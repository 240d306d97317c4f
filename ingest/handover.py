"""The handover from a client id that others may know to a new one, without a loss and without a double.

The new session is subscribed while the old one is, then a marker is published. A broker puts every message into both
sessions in one order: what comes before the marker is taken from the old session, what comes after it from the new one.
Until the old session has come to the marker, everything is still in it, and a crash begins the handover anew.
"""

import logging
import secrets
from collections.abc import Callable, Sequence

from paho.mqtt.client import topic_matches_sub

from broker.message import Message, Receiver
from broker.sessions import MARKERS, SessionError
from ingest.known_session import AT_ONCE
from utils.logger import Throttle

logger = logging.getLogger(__name__)
QUIET_BATCH = 1_000
"""Messages; while batches are larger the old session is still working off what waited."""
RETRY_SECONDS = 60
HELD_SECONDS = 30
"""After so many seconds with a connection a marker that has not come will not come."""


def index_of_marker(token: str, messages: Sequence[Message]) -> int | None:
    """Where the marker is among messages, or None."""
    marker = (MARKERS, token.encode())
    return next((index for index, m in enumerate(messages) if (m.topic, m.payload) == marker), None)


class Draining:
    """Receives for the old session as its receiver does, opens the new one, and ends at the marker."""

    def __init__(self, opening: Callable[[str], None], inner: Receiver, done: Callable[[str], bool]) -> None:
        self._open_new = opening
        """Opens the new session with the token of a marker; see `broker.sessions.open_beside`."""
        self._inner = inner
        self._done = done
        """Told the token once everything before the marker is stored; False: not now."""
        self._token = ""
        self._stored = self._quiet = self._subscribed = False
        self._forgotten = False
        """Whether the broker has forgotten the old session since the new one was opened."""
        self._waiting = False
        """Whether what was last received is not settled yet."""
        self._pause = 0
        """Seconds until the next attempt."""
        self._throttle = Throttle(seconds=3600)
        self.drained = False

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store what is before the marker; the new session has the rest too."""
        self._quiet = self._quiet and len(messages) < QUIET_BATCH
        if self.drained:
            return True
        index = index_of_marker(self._token, messages) if self._token else None
        if index is None:
            self._waiting = not self._inner.receive(messages)
            return not self._waiting
        self._stored = self._stored or index == 0 or self._inner.receive(messages[:index])
        self.drained = self._stored and self._done(self._token)
        self._waiting = not self.drained
        return self.drained

    def may_connect(self) -> bool:
        return self._inner.may_connect()

    def tick(self) -> bool:
        """Open the new session as soon as the old one has nothing waiting; ends when it is drained."""
        self._pause = max(0, self._pause - 1)
        if self._subscribed and self._quiet and not self._token and not self._pause:
            self._open()
        self._quiet = True
        self._go_over()
        return self._inner.tick() and not self.drained

    def connected(self, *, session_present: bool) -> None:
        """Go over at once where the broker has forgotten the old session since the new one was opened."""
        self._subscribed = False
        self._inner.connected(session_present=session_present)
        self._forgotten = self._forgotten or (self._token != "" and not session_present)
        self._go_over()

    def subscribed(self) -> None:
        self._subscribed = True

    def evicted(self) -> None:
        self._inner.evicted()

    def _go_over(self) -> None:
        # What was received from the forgotten session is nowhere else: it is stored first.
        if self._forgotten and not (self._waiting or self.drained):
            self.drained = self._done(AT_ONCE)

    def _open(self) -> None:
        token = secrets.token_hex(16)
        try:
            self._open_new(token)
            self._token = token
        except (SessionError, OSError, ValueError) as error:
            self._pause = RETRY_SECONDS
            self._throttle.warn(logger, "handover", f"The old client id stays in use, which others may know: {error}")


class Beginning:
    """What a new session holds from before the marker, which the old one has given already."""

    def __init__(self, token: str | None, filters: Sequence[str]) -> None:
        self._token = token
        self._filters = filters
        """What the old session has."""
        self._seconds = 0
        self._found = False
        self._passed: list[Message] = []
        """The messages passed over, of a batch whose others are not stored yet."""
        self.waits = token not in (None, AT_ONCE)
        """Whether what is before the marker has yet to be passed over."""

    def split(self, messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]] | None:
        """The messages to pass over, and those to take; None while the marker has not come."""
        before = self._before_marker(messages) if self.waits else self._passed
        if before is None:
            return None
        if not before:
            return before, messages
        known = {message.serial() for message in before}
        return before, [message for message in messages if message.serial() not in known]

    def passed(self, before: Sequence[Message]) -> None:
        """These are passed over: the marker has come."""
        self._passed = [*before]
        self.waits = False

    def give_up(self) -> None:
        """The marker will not come, unless it has come already."""
        self.waits = self.waits and self._found

    def stored(self) -> None:
        """The whole batch is settled."""
        self._passed = []

    def tick(self) -> bool:
        """Count a second with a connection; True if the marker will not come any more."""
        self._seconds += 1
        return self.waits and not self._found and self._seconds > HELD_SECONDS

    def _before_marker(self, messages: Sequence[Message]) -> list[Message] | None:
        index = None if self._token is None else index_of_marker(self._token, messages)
        if index is None:
            return None
        self._found = True
        return [message for message in messages[:index] if self._was_received(message)]

    def _was_received(self, message: Message) -> bool:
        return any(topic_matches_sub(known, message.topic) for known in self._filters)
