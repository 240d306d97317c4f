"""The periodic duties of an ingester: its heartbeat, its session, and ending the retired one."""

import logging
import time

from broker.backoff import Backoff
from broker.sessions import MARKERS, SessionError, end
from broker.state import ConnectionState
from config import Settings
from database import Unavailable
from ingest.handover import Beginning
from ingest.heartbeat import Heartbeat
from ingest.ingest_lease import IngestLease
from ingest.sessions import SessionMemory
from mqtt_client import Subscriber
from utils.logger import Throttle, flush_throttles

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 2.0
SESSION_SECONDS = 1.0


class Duties:
    """Runs the periodic work of an ingester, whether messages arrive or not."""

    def __init__(
        self, settings: Settings, lease: IngestLease, memory: SessionMemory, heartbeat: Heartbeat
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._memory = memory
        self._heartbeat = heartbeat
        self._next_heartbeat = self._next_look = 0.0
        self._ending = Backoff(1.0, 60.0)
        self._throttle = Throttle(seconds=10)
        self.ends_retired = False
        """Whether the current session is final, so that the retired one can be ended."""

    def tick(self, subscriber: Subscriber | None, beginning: Beginning) -> None:
        """Run the duties that are due."""
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            if self._lease.confirmed() and subscriber is not None:
                self._beat(subscriber.state)
        if now >= self._next_look and not self._lease.lost:
            self._next_look = now + SESSION_SECONDS
            self.maintain_session(subscriber, beginning)
        flush_throttles()
        self._lease.checkpoint_if_due()

    def maintain_session(self, subscriber: Subscriber | None, beginning: Beginning) -> None:
        """Write pending changes of the session, publish its marker, and end the retired one."""
        connected = subscriber if subscriber is not None and subscriber.state.connected else None
        try:
            # Without a connection no message can arrive, so the wait does not count.
            if connected is not None and beginning.tick():
                logger.warning(
                    "The marker of the new session did not arrive: "
                    "some messages may be stored twice"
                )
                self._memory.begun()
                beginning.give_up()
            self._memory.write(self._lease.connection)
            if connected is not None and (token := self._memory.marker()):
                # `flask end-session` stores the messages of another session up to this marker.
                connected.publish(MARKERS, token.encode())
            if self.ends_retired:
                self._end_retired()
        except Unavailable as error:
            self._throttle.warn(logger, "duties", f"The database is unavailable: {error}")

    def _beat(self, state: ConnectionState) -> None:
        try:
            self._heartbeat.beat(self._lease.connection, state)
        except Unavailable as error:
            self._throttle.warn(logger, "heartbeat", f"The database is unavailable: {error}")

    def _end_retired(self) -> None:
        retired = self._memory.known.retired_client_id
        if retired is None or not self._ending.due():
            return
        self._ending.failed()
        try:
            end(self._settings, retired)
        except SessionError as error:
            text = f"The session of the old client id could not be ended yet: {error}"
            self._throttle.warn(logger, "end", text)
        else:
            self._memory.ended(self._lease.connection)
            logger.info("The session of the old client id was empty and is ended")
