"""Ending a session that nobody uses any more: what waits in it is stored first, by the usual way."""

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
from utils.topic_filters import fewest

IDLE_SECONDS = 3.0
"""After so long without a message, while subscribed, the broker is asked whether anything waits."""
REACH_SECONDS = 20.0
"""After so long without getting on it is given up."""


class Target(NamedTuple):
    """Where what waits is stored, and by what."""

    database: Database
    pipeline: Pipeline


class EndError(Exception):
    """A session could not be ended; the text says why and what to do."""


class Ending:
    """Stores what waits in a session, up to where the session in use begins; see `broker.message.Receiver`."""

    def __init__(self, target: Target, connection: Connection, token: str | None) -> None:
        self._target = target
        self._connection = connection
        self._token = token
        """What was published once the session in use was there, so that it has everything after it."""
        self._subscriber: Subscriber | None = None
        self._got_on = time.monotonic()
        """When anything was last stored, or the session was last subscribed."""
        self._quiet_since = math.inf
        self._answered: Callable[[], bool] | None = None
        """Tells whether the broker has answered since nothing comes any more."""
        self._marked = self._used = False
        self._problem: str | None = None
        """Why the last batch is not stored."""
        self.present: bool | None = None
        """Whether the broker has the session; None while it is unknown."""
        self.taken = Outcome()
        """What was received, and what became of it."""

    def run(self, settings: Settings, client_id: str, filters: Filters) -> None:
        """Store what waits in the session of a client id. Raises EndError: then something may wait still."""
        subscriber = self._subscriber = Subscriber(settings, client_id, filters, self)
        subscriber.run()
        if self._used:
            raise EndError("another client uses that session: nothing is ended")
        if self._problem is not None:
            raise EndError(f"{subscriber.holding} messages wait for the database: {self._problem}: nothing is ended")
        if not self._is_through(subscriber):
            silent = "messages still come" if subscriber.holding else f"{settings.broker} does not answer"
            raise EndError(f"{subscriber.problem or silent}: nothing is ended")

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store what the session in use has not received."""
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
        self._got_on = self._quiet_since = time.monotonic()
        self.taken = self.taken.with_next(outcome)
        return True

    def may_connect(self) -> bool:
        return True

    def tick(self) -> bool:
        """Go on until the marker has come or nothing comes any more, or until nothing gets on."""
        subscriber = self._subscriber
        if subscriber is None or self._used or self.present is False:
            return False
        if self._is_quiet(subscriber) and self._answered is None:
            # What it sent before the answer has come; without one nobody knows whether it sends anything.
            self._answered = subscriber.publish(NOTHING, b"")
        return not self._is_through(subscriber) and time.monotonic() - self._got_on < REACH_SECONDS

    def connected(self, *, session_present: bool) -> None:
        self.present = session_present
        self._quiet_since, self._answered = math.inf, None

    def subscribed(self) -> None:
        self._got_on = self._quiet_since = time.monotonic()

    def evicted(self) -> None:
        """Somebody uses the session after all."""
        self._used = True

    def _is_quiet(self, subscriber: Subscriber) -> bool:
        idle = time.monotonic() - self._quiet_since
        return subscriber.subscribed and not subscriber.holding and idle >= IDLE_SECONDS

    def _is_through(self, subscriber: Subscriber) -> bool:
        """Whether nothing is in the session that the session in use has not received."""
        nothing_comes = self._answered is not None and self._answered() and not subscriber.holding
        return self.present is False or self._marked or nothing_comes


def end_session(settings: Settings, streams: Streams, target: Target, client_id: str) -> Outcome:
    """Store what waits in the session of a client id, and have the broker forget it. Raises EndError, Unavailable."""
    database = target.database
    token = _token(settings, database, client_id)
    with database.connection() as connection:
        ending = Ending(target, connection, token)
        # What comes from now on comes to the session in use as well.
        unwanted = sorted({*streams.filters, *streams.subscriptions()})
        ending.run(settings, client_id, Filters((), unwanted, fewest([*streams.filters, MARKERS])))
    try:
        end(settings, client_id)
    except SessionError as error:
        raise EndError(f"{error}: the session is empty, but not ended; try again") from error
    if not ending.present:
        raise EndError(f"{settings.broker} holds no session {client_id}")
    return ending.taken


def _token(settings: Settings, database: Database, client_id: str) -> str | None:
    """The marker of the session that receives what comes from now on. Raises EndError where there is none."""
    try:
        with database.session() as session:
            known = queries.installation.installation(session)
    except Unavailable as error:
        raise EndError(f"{database} cannot be used: {error}; start AutoForge with it first") from error
    own = settings.mqtt_client_id or known.client_id
    if client_id == own:
        raise EndError(f"{client_id} is the session that AutoForge uses: nothing is done")
    if known.session_client_id != own:
        raise EndError("AutoForge has no other session yet: start it first, so that it receives what comes meanwhile")
    return known.session_token
