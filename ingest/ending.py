"""Ending a session that nobody uses any more: what waits in it is stored first, by the usual way."""

import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

import queries.ingestion
from config import Settings
from database import Database, Unavailable
from ingest.handover import place_of
from ingest.pipeline import Outcome, Pipeline
from mqtt_client import Filters, Message, Subscriber
from mqtt_sessions import MARKERS, SessionError, end
from streams.registry import Streams
from utils.topic_filters import fewest

IDLE_SECONDS = 3.0
"""After so long without a message nothing waits any more."""
REACH_SECONDS = 20.0


def token_of(client_id: str) -> str:
    """What a new session publishes as its marker; it tells the client id to those who know it."""
    return hashlib.sha256(f"autoforge session {client_id}".encode()).hexdigest()[:32]


class Place(NamedTuple):
    """Where what waits is stored, and by what."""

    database: Database
    pipeline: Pipeline


class EndError(Exception):
    """A session could not be ended; the text says why and what to do."""


class Ending:
    """Stores what waits in a session, up to where the session in use begins; see `mqtt_client.Receiver`."""

    def __init__(self, pipeline: Pipeline, connection: Connection, own_client_id: str) -> None:
        self._pipeline = pipeline
        self._connection = connection
        self._token = token_of(own_client_id)
        self._begun = self._last = time.monotonic()
        self._ready = self._marked = False
        self.present: bool | None = None
        """Whether the broker has the session."""
        self.taken = Outcome()
        """What was received, and what became of it."""

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store what the session in use has not received."""
        self._last = time.monotonic()
        place = place_of(self._token, messages)
        wanted = messages if place is None else messages[:place]
        try:
            outcome = self._pipeline.handle(self._connection, () if self._marked else wanted)
        except Unavailable:
            return False
        self._marked = self._marked or place is not None
        self.taken.received += outcome.received
        self.taken.stored += outcome.stored
        self.taken.duplicate += outcome.duplicate
        self.taken.rejections += outcome.rejections
        return True

    def may_connect(self) -> bool:
        return True

    def tick(self) -> bool:
        """Go on until the marker has come, or nothing comes."""
        now = time.monotonic()
        if self.present is None:
            return now - self._begun < REACH_SECONDS
        return self.present and not self._marked and (not self._ready or now - self._last < IDLE_SECONDS)

    def connected(self, *, session_present: bool) -> None:
        self.present = session_present

    def subscribed(self) -> None:
        self._ready, self._last = True, time.monotonic()

    def evicted(self) -> None:
        """Somebody uses the session after all."""
        self.present = None


def end_session(settings: Settings, streams: Streams, place: Place, client_id: str) -> Outcome:
    """Store what waits in the session of a client id, and have the broker forget it. Raises EndError, Unavailable."""
    database, pipeline = place
    try:
        with database.session() as session:
            known = queries.ingestion.installation(session)
    except Unavailable as error:
        raise EndError(f"{database} cannot be used: {error}; start AutoForge with it first") from error
    own = settings.mqtt_client_id or known.client_id
    if client_id == own:
        raise EndError(f"{client_id} is the session that AutoForge uses: nothing is done")
    if known.session_client_id != own:
        raise EndError("AutoForge has no other session yet: start it first, so that it receives what comes meanwhile")
    with database.connection() as connection:
        ending = Ending(pipeline, connection, own)
        # What comes from now on comes to the session in use as well.
        unwanted = sorted({*streams.filters, *streams.subscriptions()})
        filters = Filters((), unwanted, fewest([*streams.filters, MARKERS]))
        subscriber = Subscriber(settings, client_id, filters, ending)
        subscriber.run()
    if ending.present is None:
        raise EndError(f"{subscriber.problem or 'another client uses that session'}: nothing is ended")
    try:
        end(settings, client_id)
    except SessionError as error:
        raise EndError(f"{error}: the session is empty, but not ended; try again") from error
    if not ending.present:
        raise EndError(f"{settings.broker} holds no session {client_id}")
    return ending.taken
