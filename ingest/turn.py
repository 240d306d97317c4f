"""A turn of ingestion: from taking the lease until it is released or lost."""

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
from ingest.handover import Beginning, Draining
from ingest.heartbeat import Heartbeat
from ingest.ingest_lease import IngestLease
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
    """The parts of an ingester that all its turns share."""

    database: Database
    lease: Lease
    pipeline: Pipeline
    heartbeat: Heartbeat


class Turn:
    """Receives, stores and acknowledges while the lease is held; see `broker.message.Receiver`."""

    def __init__(self, settings: Settings, streams: Streams, held: IngestParts) -> None:
        self._settings = settings
        self._streams = streams
        self._held = held
        self._memory = SessionMemory(settings, held.database)
        self._lease = IngestLease(held.database, held.lease, held.pipeline, self._memory.resumed)
        self._duties = Duties(settings, self._lease, self._memory, held.heartbeat)
        self._wanted = fewest([*streams.filters, MARKERS])
        self._beginning = Beginning(None, ())
        self._subscriber: Subscriber | None = None
        self._stop = threading.Event()
        # Whether the broker restarts its packet ids, which invalidates those of earlier deliveries.
        self._new_session = False
        self._throttle = Throttle(seconds=10)

    def run(self) -> None:
        """Receive until stopped or the lease is lost. Raises Unavailable, SettingsError."""
        self._lease.resume()
        known = self._memory.load(self._lease.connection)
        self._held.database.client_id = known.client_id
        # This must come before a new session is recorded as the last one.
        self._new_session = self._memory.warn_of_left_sessions()
        if known.retired_client_id and not known.handover:
            self._drain(known, known.retired_client_id)
            self._lease.resume()
        if not (self._stop.is_set() or self._lease.lost):
            self._receive_as(self._memory.known)
        if not self._lease.lost:
            self._held.heartbeat.beat(self._lease.connection, None)

    def stop(self) -> None:
        """End `run` after received messages are committed and acknowledged; from any thread."""
        self._stop.set()
        if self._subscriber is not None:
            self._subscriber.stop()

    def _drain(self, known: Known, retired: str) -> None:
        """Receive for the retired client id until the session of the new one takes over."""
        logger.info("The client id is being replaced by a secret one")
        opening = partial(open_beside, self._settings, known.client_id, self._wanted)
        draining = Draining(opening, self, self._drained)
        # The filters stay unchanged: with MQTT 5, Mosquitto delivers a message once per filter.
        self._receive(retired, Filters(fewest([*self._streams.subscriptions(), MARKERS])), draining)

    def _drained(self, token: str) -> bool:
        try:
            self._memory.drained(self._lease.connection, token, self._wanted)
        except Unavailable as error:
            self._throttle.warn(logger, "handover", f"The database is unavailable: {error}")
            return False
        return True

    def _receive_as(self, known: Known) -> None:
        usual = self._streams.subscriptions()
        unwanted = self._memory.subscribing(self._lease.connection, self._wanted, usual)
        if not self._streams.knows_all_topics:
            # A filter may belong to an unusable declaration, whose messages are set aside.
            wanted = list(self._wanted)
            kept = [one for one in unwanted if not any(covers(other, one) for other in wanted)]
            self._wanted = [*wanted, *kept]
            unwanted = [one for one in unwanted if one not in kept]
        self._beginning = Beginning(known.handover, usual)
        self._duties.ends_retired = True
        self._receive(known.client_id, Filters(self._wanted, unwanted), self)

    def _receive(self, client_id: str, filters: Filters, receiver: Receiver) -> None:
        self._subscriber = Subscriber(self._settings, client_id, filters, receiver)
        if self._stop.is_set():
            self._subscriber.stop()
        self._subscriber.run()  # also closes its connection if it is already stopped

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store a batch; return False if it must be delivered to this method again."""
        begun = time.monotonic()
        parts = self._beginning.split(messages)
        if parts is None:
            return False
        try:
            self._store(*parts)
        except Unavailable as error:
            if isinstance(error, Replaced):
                self._lease.invalidate()
            self._held.heartbeat.wait(len(messages), str(error))
            self._lease.confirmed()
            return False
        self._lease.stored()
        self._held.heartbeat.stored(len(messages), time.monotonic() - begun)
        return True

    def _store(self, before: Sequence[Message], after: Sequence[Message]) -> None:
        if self._new_session:
            self._held.pipeline.forget_deliveries(self._lease.connection)
            self._new_session = False
        if self._beginning.waits:
            self._held.pipeline.pass_over(self._lease.connection, before, self._memory.begun)
            self._beginning.passed(before)
        self._held.pipeline.handle(self._lease.connection, after)
        self._beginning.stored()

    def may_connect(self) -> bool:
        """Return whether the lease is held; two clients with one id would evict each other."""
        return self._lease.confirmed()

    def tick(self) -> bool:
        """Run the periodic duties; return False if stopped or the lease is lost."""
        self._duties.tick(self._subscriber, self._beginning)
        return not (self._lease.lost or self._stop.is_set())

    def connected(self, *, session_present: bool) -> None:
        """Record whether the broker has the session."""
        self._memory.connected(session_present=session_present)
        if not session_present:
            self._new_session = True
            self._beginning.give_up()

    def subscribed(self) -> None:
        """Record that the session exists."""
        self._memory.subscribed(self._wanted)
        if self._settings.embedded_broker:
            Store(self._settings.broker_folder).admit()
        self._duties.maintain_session(self._subscriber, self._beginning)

    def evicted(self) -> None:
        """Record that another client uses the client id."""
        self._memory.evicted()
