"""Ending of an unused session: its waiting messages are stored first, through the pipeline."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

import queries.installation
from broker.message import Filters, Message
from broker.sessions import MARKERS, SessionError, end
from config import Settings
from database import Database, Unavailable
from ingest.handover import index_of_marker
from ingest.outcome import Outcome
from ingest.pipeline import Pipeline
from mqtt_client import NOTHING, Subscriber
from streams.registry import Streams
from utils.log_lines import shown
from utils.topic_filters import fewest

IDLE_SECONDS = 3.0
"""The time without a message, while subscribed, after which the broker is probed."""
REACH_SECONDS = 20.0
"""The time without progress after which the attempt fails."""


class Target(NamedTuple):
    """The database that the waiting messages are stored in, and the pipeline that stores them."""

    database: Database
    pipeline: Pipeline


class EndError(Exception):
    """A session could not be ended; the text says why, and what to do."""


class Ending:
    """Stores the waiting messages of a session, up to where the current session begins.

    A `broker.message.Receiver`.
    """

    def __init__(self, target: Target, connection: Connection, token: str | None) -> None:
        self._target = target
        self._connection = connection
        # The marker published after the current session existed, which has all later messages.
        self._token = token
        self._subscriber: Subscriber | None = None
        # When a batch was last stored, or the session was last subscribed.
        self._progress_at = time.monotonic()
        self._quiet_since = math.inf
        # Returns whether the broker has acknowledged the probe; None before the probe.
        self._answered: Callable[[], bool] | None = None
        self._marked = self._used = False
        # Why the last batch could not be stored.
        self._problem: str | None = None
        self.present: bool | None = None
        """Whether the broker has the session; None while it is unknown."""
        self.taken = Outcome()
        """The outcome of all messages received."""

    def run(self, settings: Settings, client_id: str, filters: Filters) -> None:
        """Store the waiting messages of a session. Raises EndError if some may still wait."""
        subscriber = self._subscriber = Subscriber(settings, client_id, filters, self)
        subscriber.run()
        if self._used:
            raise EndError("another client uses that session: nothing is ended")
        if self._problem is not None:
            waiting = f"{subscriber.holding} messages wait for the database"
            raise EndError(f"{waiting}: {self._problem}: nothing is ended")
        if not self._is_complete(subscriber):
            unanswered = f"{settings.broker} does not answer"
            problem = "messages still arrive" if subscriber.holding else unanswered
            raise EndError(f"{subscriber.state.problem or problem}: nothing is ended")

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store the messages that the current session does not have."""
        self._quiet_since, self._answered = math.inf, None
        index = None if self._token is None else index_of_marker(self._token, messages)
        wanted = messages if index is None else messages[:index]
        try:
            outcome = self._target.pipeline.handle(self._connection, () if self._marked else wanted)
        except Unavailable as error:
            self._problem = str(error)
            return False
        self._problem = None
        self._marked = self._marked or index is not None
        self._progress_at = self._quiet_since = time.monotonic()
        self.taken = self.taken.with_next(outcome)
        return True

    def may_connect(self) -> bool:
        return True

    def tick(self) -> bool:
        """Continue until the marker arrived, no message is left, or there is no progress."""
        subscriber = self._subscriber
        if subscriber is None or self._used or self.present is False:
            return False
        if self._is_quiet(subscriber) and self._answered is None:
            # A probe: when the broker acknowledges it, all messages sent before have arrived.
            self._answered = subscriber.publish(NOTHING, b"")
        idle = time.monotonic() - self._progress_at
        return not self._is_complete(subscriber) and idle < REACH_SECONDS

    def connected(self, *, session_present: bool) -> None:
        self.present = session_present
        self._quiet_since, self._answered = math.inf, None

    def subscribed(self) -> None:
        self._progress_at = self._quiet_since = time.monotonic()

    def evicted(self) -> None:
        """Record that another client uses the session."""
        self._used = True

    def _is_quiet(self, subscriber: Subscriber) -> bool:
        idle = time.monotonic() - self._quiet_since
        return subscriber.state.subscribed and not subscriber.holding and idle >= IDLE_SECONDS

    def _is_complete(self, subscriber: Subscriber) -> bool:
        """Return whether the current session has received all that is left in this session."""
        answered = self._answered is not None and self._answered()
        is_empty = answered and not subscriber.holding
        return self.present is False or self._marked or is_empty


def end_session(settings: Settings, streams: Streams, target: Target, client_id: str) -> Outcome:
    """Store the waiting messages of a session, and make the broker forget it.

    Raises EndError, Unavailable.
    """
    database = target.database
    token = _token(settings, database, client_id)
    with database.write() as connection:
        ending = Ending(target, connection, token)
        # The current session receives all new messages, so this one unsubscribes.
        unwanted = sorted({*streams.filters, *streams.subscriptions()})
        ending.run(settings, client_id, Filters((), unwanted, fewest([*streams.filters, MARKERS])))
    try:
        end(settings, client_id)
    except SessionError as error:
        raise EndError(f"{error}: the session is empty but not ended; try again") from error
    if not ending.present:
        raise EndError(f"{settings.broker} holds no session {shown(client_id)}")
    return ending.taken


def _token(settings: Settings, database: Database, client_id: str) -> str | None:
    """Return the marker of the current session. Raises EndError if there is no other session."""
    try:
        with database.read() as reader:
            known = queries.installation.installation(reader)
    except Unavailable as error:
        text = f"{database} cannot be used: {error}; start AutoForge with it first"
        raise EndError(text) from error
    own = settings.mqtt_client_id or known.client_id
    if client_id == own:
        raise EndError(f"{shown(client_id)} is the session that AutoForge uses: nothing is done")
    if known.session_client_id != own:
        raise EndError(
            "AutoForge has no other session yet: start it first, so that it receives new messages"
        )
    return known.session_token
