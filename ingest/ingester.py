"""The ingester: the thread that holds the lease, receives, stores, acknowledges, and says how it is."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, update

import queries.ingestion
from config import Settings
from database import Database, Replaced, Unavailable
from ingest.lease import Lease
from ingest.meter import Meter
from ingest.pipeline import Outcome, Pipeline
from ingest.rejected import Room
from models import IngestStatus
from mqtt_client import Message, Subscriber
from mqtt_notices import News
from schema import SchemaError
from streams.declaration import Streams
from utils import clock
from utils.logger import Throttle, flush_throttles

logger = logging.getLogger(__name__)
STANDBY_SECONDS = 1.0
HEARTBEAT_SECONDS = 2.0
EXPIRY_SECONDS = 1.0
CHECKPOINT_SECONDS = 10.0
IDLE_SECONDS = 1.0
STOP_SECONDS = 15.0


class Ingester:
    """Waits for the lease, ingests while it has it, and hands it on when it stops."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        streams: Streams,
        tell: Callable[[News], None],
        record: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._streams = streams
        self._lease = Lease(database)
        room, earliest = Room.of(settings), settings.earliest_time
        self._pipeline = Pipeline(database, streams, "mqtt", tell, record, room=room, earliest=earliest)
        self._subscriber: Subscriber | None = None
        self._stop = threading.Event()
        self._lost = False
        self._resumed = 0
        """Which taking of the lease the pipeline knows of."""
        self._next_heartbeat = 0.0
        self._next_expiry = 0.0
        self._next_checkpoint = 0.0
        self._stored_at: float | None = None
        """When the last batch was stored that may be in no checkpoint yet, in monotonic seconds."""
        self._waiting: tuple[str, datetime] | None = None
        """Why the last batch is not committed, and since when."""
        self._waiting_messages = 0
        self._meter = Meter()
        self._throttle = Throttle(seconds=10)
        self._thread = threading.Thread(target=self.run, name="ingest", daemon=True)

    def start(self) -> None:
        """Run in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it has received is committed and acknowledged."""
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def request_stop(self) -> None:
        """Ask for the end without waiting for it; fit for a signal handler."""
        self._stop.set()
        if self._subscriber is not None:
            self._subscriber.stop()

    def run(self) -> None:
        """Take turns at standing by and ingesting, until stopped."""
        while not self._stop.is_set():
            try:
                self._take_turn()
            except SchemaError as error:
                self._throttle.warn(logger, "schema", f"Cannot ingest: {error}")
            except Unavailable as error:
                self._throttle.warn(logger, "standby", f"Waiting for the database: {error}")
            except Exception:
                # Whatever it was: nothing was acknowledged, so the broker delivers it again to the next turn.
                logger.exception("Ingesting failed; it begins again")
            flush_throttles()
            self._stop.wait(STANDBY_SECONDS)

    def _take_turn(self) -> None:
        if not self._lease.acquire():
            return
        logger.info("This process ingests into %s", self._database)
        try:
            self._resume()
            self._ingest()
        finally:
            self._checkpoint()
            self._lease.release()

    def _resume(self) -> None:
        """Learn what is committed: before this process had the lease, another had it, or another database was here."""
        self._database.ensure_prepared()
        taken = self._lease.taken
        self._pipeline.resume(self._lease.connection)
        self._resumed = taken

    def _ingest(self) -> None:
        self._lost = False
        topics = self._streams.subscriptions()
        with self._database.session() as session:
            self._database.client_id = queries.ingestion.client_id(session)
        client_id = self._settings.mqtt_client_id or self._database.client_id
        self._subscriber = Subscriber(self._settings, client_id, topics, self)
        if not self._stop.is_set():
            self._subscriber.run()
        subscriber, self._subscriber = self._subscriber, None
        if not self._lost:
            self._beat(subscriber, running=False)

    def receive(self, messages: Sequence[Message]) -> bool:
        """Store a batch; see `mqtt_client.Receiver`."""
        begun = time.monotonic()
        try:
            self._pipeline.handle(self._connection, messages)
        except Unavailable as error:
            if isinstance(error, Replaced):
                self._resumed = 0
            problem = f"{len(messages)} messages wait for the database: {error}"
            self._throttle.warn(logger, "store", problem)
            self._waiting = (problem, self._waiting[1] if self._waiting else clock.now())
            self._waiting_messages = len(messages)
            self._confirmed()
            return False
        self._waiting, self._waiting_messages = None, 0
        self._stored_at = time.monotonic()
        self._meter.add(len(messages), time.monotonic() - begun)
        return True

    @property
    def _connection(self) -> Connection:
        connection = self._lease.connection
        if self._lease.taken != self._resumed:
            raise Unavailable("what it holds has to be read anew")
        return connection

    def may_connect(self) -> bool:
        """Whether the lease is held at this moment; two clients with one id would evict each other."""
        return self._confirmed()

    def tick(self) -> bool:
        """Renew the lease and write the heartbeat; False once another process has the lease."""
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            if self._confirmed() and self._subscriber is not None:
                self._beat(self._subscriber, running=True)
        if now >= self._next_expiry and not self._lost:
            self._next_expiry = now + EXPIRY_SECONDS
            self._expire()
        flush_throttles()
        idle = self._stored_at is not None and now - self._stored_at >= IDLE_SECONDS
        if idle or now >= self._next_checkpoint:
            self._checkpoint()
        return not (self._lost or self._stop.is_set())

    def _checkpoint(self) -> None:
        """Keep the file of the database nearly current by itself, for whoever copies it."""
        self._next_checkpoint, self._stored_at = time.monotonic() + CHECKPOINT_SECONDS, None
        with contextlib.suppress(Unavailable):  # the next batch says so
            self._database.checkpoint(self._connection)

    def _expire(self) -> None:
        try:
            self._pipeline.expire(self._connection)
        except Unavailable as error:
            self._throttle.warn(logger, "expire", f"The database is away: {error}")

    def _confirmed(self) -> bool:
        if self._lost:
            return False
        try:
            self._lost = not self._lease.confirm()
            if not self._lost and self._lease.taken != self._resumed:
                self._resume()
        except Unavailable as error:
            self._throttle.warn(logger, "lease", f"The database is away: {error}")
            return False
        if self._lost:
            logger.warning("Another process has taken over ingesting")
        return not self._lost

    def _beat(self, subscriber: Subscriber, running: bool) -> None:
        problem, since = subscriber.problem, subscriber.changed_at
        if not running:
            problem, since = "no process ingests", clock.now()
        elif problem is None and self._waiting is not None:
            problem, since = self._waiting
        status = {
            "holder": f"{socket.gethostname()}:{os.getpid()}" if running else None,
            "heartbeat_at": clock.now(),
            "connected": running and subscriber.connected,
            "subscribed": running and subscriber.subscribed,
            "problem": problem[:300] if problem else None,
            "changed_at": since,
            "waiting": self._waiting_messages,
            **self._meter.figures()._asdict(),
        }
        try:
            with self._database.transaction(connection := self._connection):
                connection.execute(update(IngestStatus).where(IngestStatus.source == "mqtt").values(status))
        except Unavailable as error:
            self._throttle.warn(logger, "heartbeat", f"The database is away: {error}")
