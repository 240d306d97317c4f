"""The handover from a client id that others may know to a new one, without losses or duplicates.

The new session subscribes while the old one is still subscribed, then a marker is published. The
broker puts every message into both sessions in the same order: messages before the marker are
taken from the old session, messages after it from the new one. Until the old session reaches the
marker it still has every message, so a crash restarts the handover.
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
"""Messages; larger batches mean that the old session still has a backlog."""
RETRY_SECONDS = 60
HELD_SECONDS = 30
"""Seconds with a connection after which the marker is no longer expected."""


def index_of_marker(token: str, messages: Sequence[Message]) -> int | None:
    """Return the index of the marker among messages, or None."""
    payload = token.encode()
    for index, message in enumerate(messages):
        if message.topic == MARKERS and message.payload == payload:
            return index
    return None


class Draining:
    """Receives for the old session through its receiver, opens the new one, ends at the marker."""

    def __init__(
        self, opening: Callable[[str], None], inner: Receiver, done: Callable[[str], bool]
    ) -> None:
        # Opens the new session with the token of a marker; see `broker.sessions.open_beside`.
        self._open_new = opening
        self._inner = inner
        # Called with the token when all messages before the marker are stored; False: call again.
        self._done = done
        self._token = ""
        self._stored = self._quiet = self._subscribed = False
        # Whether the broker has forgotten the old session since the new one was opened.
        self._forgotten = False
        # Whether the last batch is not stored yet.
        self._waiting = False
        # Seconds until the next attempt.
        self._pause = 0
        self._throttle = Throttle(seconds=3600)
        self.drained = False

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store the messages before the marker; the new session has the others too."""
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
        """Open the new session once the old one has no backlog; return False when drained."""
        self._pause = max(0, self._pause - 1)
        if self._subscribed and self._quiet and not self._token and not self._pause:
            self._open()
        self._quiet = True
        self._switch_if_forgotten()
        return self._inner.tick() and not self.drained

    def connected(self, *, session_present: bool) -> None:
        """Switch at once if the broker forgot the old session after the new one was opened."""
        self._subscribed = False
        self._inner.connected(session_present=session_present)
        self._forgotten = self._forgotten or (self._token != "" and not session_present)
        self._switch_if_forgotten()

    def subscribed(self) -> None:
        self._subscribed = True

    def evicted(self) -> None:
        self._inner.evicted()

    def _switch_if_forgotten(self) -> None:
        # Received messages of a forgotten session exist nowhere else and are stored first.
        if self._forgotten and not (self._waiting or self.drained):
            self.drained = self._done(AT_ONCE)

    def _open(self) -> None:
        token = secrets.token_hex(16)
        try:
            self._open_new(token)
            self._token = token
        except (SessionError, OSError, ValueError) as error:
            self._pause = RETRY_SECONDS
            text = f"The old client id, which others may know, stays in use: {error}"
            self._throttle.warn(logger, "handover", text)


class Beginning:
    """The messages of a new session before the marker, which the old session has delivered."""

    def __init__(self, token: str | None, filters: Sequence[str]) -> None:
        self._token = token
        # The filters of the old session.
        self._filters = filters
        self._seconds = 0
        self._found = False
        # The skipped messages of a batch whose other messages are not stored yet.
        self._passed: list[Message] = []
        self.waits = token not in (None, AT_ONCE)
        """Whether messages before the marker are still to be skipped."""

    def split(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[Message], Sequence[Message]] | None:
        """Return the messages to skip and the messages to store; None before the marker arrived."""
        before = self._before_marker(messages) if self.waits else self._passed
        if before is None:
            return None
        if not before:
            return before, messages
        known = {message.serial() for message in before}
        return before, [message for message in messages if message.serial() not in known]

    def passed(self, before: Sequence[Message]) -> None:
        """Record that these messages were skipped and the marker arrived."""
        self._passed = [*before]
        self.waits = False

    def give_up(self) -> None:
        """Stop waiting for the marker, unless it has already arrived."""
        self.waits = self.waits and self._found

    def stored(self) -> None:
        """Record that the whole batch is stored."""
        self._passed = []

    def tick(self) -> bool:
        """Count a second with a connection; return True if the marker is no longer expected."""
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
