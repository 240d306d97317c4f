"""A turn of ingesting: what the process that holds the lease does with what the broker delivers."""

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from broker.message import Filters, Message, Receiver
from broker.sessions import MARKERS, open_beside
from broker.store import Store
from config import Settings
from database import Database, Replaced, Unavailable
from ingest.duties import Duties
from ingest.grip import Grip
from ingest.handover import Beginning, Draining
from ingest.heartbeat import Heartbeat
from ingest.known_session import Known
from ingest.pipeline import Pipeline
from ingest.sessions import SessionMemory
from jobs.lease import Lease
from mqtt_client import Subscriber
from streams.registry import Streams
from utils.logger import Throttle
from utils.topic_filters import covers, fewest

logger = logging.getLogger(__name__)


class IngestParts(NamedTuple):
    """What an ingester has for all its turns."""

    database: Database
    lease: Lease
    pipeline: Pipeline
    heart: Heartbeat


class Turn:
    """Receives, stores and acknowledges while the lease is held; see `broker.message.Receiver`."""

    def __init__(self, settings: Settings, streams: Streams, held: IngestParts) -> None:
        self._settings = settings
        self._streams = streams
        self._held = held
        self._memory = SessionMemory(settings, held.database)
        self._grip = Grip(held.database, held.lease, held.pipeline, self._memory.resumed)
        self._duties = Duties(settings, self._grip, self._memory, held.heart)
        self._wanted = fewest([*streams.filters, MARKERS])
        self._beginning = Beginning(None, ())
        self._subscriber: Subscriber | None = None
        self._stop = threading.Event()
        self._new_session = False
        """Whether the broker gives packet ids anew, so that those of earlier deliveries mean nothing."""
        self._throttle = Throttle(seconds=10)

    def run(self) -> None:
        """Receive until stopped or until the lease is lost. Raises Unavailable, SettingsError."""
        self._grip.resume()
        known = self._memory.load(self._grip.connection)
        self._held.database.client_id = known.client_id
        # Before another session is the last one.
        self._new_session = self._memory.tell_left_behind()
        if known.retired_client_id and not known.handover:
            self._drain(known, known.retired_client_id)
            self._grip.resume()
        if not (self._stop.is_set() or self._grip.lost):
            self._go_on(self._memory.known)
        if not self._grip.lost:
            self._held.heart.beat(self._grip.connection, None)

    def stop(self) -> None:
        """End `run` soon, after what was received is committed and acknowledged; from any thread."""
        self._stop.set()
        if self._subscriber is not None:
            self._subscriber.stop()

    def _drain(self, known: Known, retired: str) -> None:
        """Receive for a client id that others may know until the session of the new one has taken over."""
        logger.info("The client id is replaced by one that nobody knows")
        opening = partial(open_beside, self._settings, known.client_id, self._wanted)
        draining = Draining(opening, self, self._drained)
        # Its filters stay as they are: with MQTT 5 Mosquitto delivers twice what two filters of a session match.
        self._receive(retired, Filters(fewest([*self._streams.subscriptions(), MARKERS])), draining)

    def _drained(self, token: str) -> bool:
        try:
            self._memory.drained(self._grip.connection, token, self._wanted)
        except Unavailable as error:
            self._throttle.warn(logger, "handover", f"The database is away: {error}")
            return False
        return True

    def _go_on(self, known: Known) -> None:
        unwanted = self._memory.subscribing(self._grip.connection, self._wanted, self._streams.subscriptions())
        if not self._streams.knows_all_topics:
            # One of them may be that of a declaration that cannot be used now: what comes there is set aside.
            kept = [one for one in unwanted if not any(covers(other, one) for other in self._wanted)]
            self._wanted = [*self._wanted, *kept]
            unwanted = [one for one in unwanted if one not in kept]
        self._beginning = Beginning(known.handover, self._streams.subscriptions())
        self._duties.ends_retired = True
        self._receive(known.client_id, Filters(self._wanted, unwanted), self)

    def _receive(self, client_id: str, filters: Filters, receiver: Receiver) -> None:
        self._subscriber = Subscriber(self._settings, client_id, filters, receiver)
        if self._stop.is_set():
            self._subscriber.stop()
        self._subscriber.run()  # closes what it has opened also where it ends at once

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store a batch."""
        begun = time.monotonic()
        parts = self._beginning.split(messages)
        if parts is None:
            return False
        try:
            self._store(*parts)
        except Unavailable as error:
            if isinstance(error, Replaced):
                self._grip.loosen()
            self._held.heart.wait(len(messages), str(error))
            self._grip.confirmed()
            return False
        self._grip.stored()
        self._held.heart.stored(len(messages), time.monotonic() - begun)
        return True

    def _store(self, before: Sequence[Message], after: Sequence[Message]) -> None:
        if self._new_session:
            self._held.pipeline.forget_deliveries(self._grip.connection)
            self._new_session = False
        if self._beginning.waits:
            self._held.pipeline.pass_over(self._grip.connection, before, self._memory.begun)
            self._beginning.passed(before)
        self._held.pipeline.handle(self._grip.connection, after)
        self._beginning.stored()

    def may_connect(self) -> bool:
        """Whether the lease is held at this moment; two clients with one id would evict each other."""
        return self._grip.confirmed()

    def tick(self) -> bool:
        """Do what is due every second; False once another process has the lease."""
        self._duties.tick(self._subscriber, self._beginning)
        return not (self._grip.lost or self._stop.is_set())

    def connected(self, *, session_present: bool) -> None:
        """Note what the broker says of the session."""
        self._memory.connected(session_present=session_present)
        if not session_present:
            self._new_session = True
            self._beginning.give_up()

    def subscribed(self) -> None:
        """Note that there is a session."""
        self._memory.subscribed(self._wanted)
        if self._settings.embedded_broker:
            Store(self._settings.broker_folder).admit()
        self._duties.look_after_session(self._subscriber, self._beginning)

    def evicted(self) -> None:
        """Note that somebody else uses the client id."""
        self._memory.evicted()
