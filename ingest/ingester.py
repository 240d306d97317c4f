"""The ingester: a thread that waits for the lease and ingests while it holds it."""

import logging
import threading

from config import Settings
from database import Database, Unavailable
from ingest.heartbeat import Heartbeat
from ingest.pipeline import Pipeline
from ingest.turn import IngestParts, Turn
from jobs.lease import Lease
from storage.schema import SchemaError
from streams.registry import Streams
from utils.logger import Throttle, flush_throttles

logger = logging.getLogger(__name__)
STANDBY_SECONDS = 1.0
STOP_SECONDS = 15.0


class Ingester:
    """Waits for the lease, ingests while holding it, and releases it when stopped."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        streams: Streams,
        pipeline: Pipeline,
    ) -> None:
        self._settings = settings
        self._database = database
        self._streams = streams
        self._lease = Lease(database, "ingest")
        self._held = IngestParts(database, self._lease, pipeline, Heartbeat(database))
        self._turn: Turn | None = None
        self._stop = threading.Event()
        self._throttle = Throttle(seconds=10)
        self._thread = threading.Thread(target=self.run, name="ingest", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after all received messages are committed and acknowledged."""
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def request_stop(self) -> None:
        """Ask the thread to stop without waiting for it."""
        self._stop.set()
        if self._turn is not None:
            self._turn.stop()

    def run(self) -> None:
        """Stand by and ingest in turns, until stopped."""
        while not self._stop.is_set():
            try:
                self._take_turn()
            except SchemaError as error:
                self._throttle.warn(logger, "schema", f"Cannot ingest: {error}")
            except Unavailable as error:
                self._throttle.warn(logger, "standby", f"Waiting for the database: {error}")
            except Exception:
                # The batch was not acknowledged, so the broker delivers it again to the next turn.
                logger.exception("Ingestion failed and is restarted")
            flush_throttles()
            self._stop.wait(STANDBY_SECONDS)

    def _take_turn(self) -> None:
        if not self._lease.acquire():
            return
        logger.info("This process now ingests into %s", self._database)
        try:
            self._turn = Turn(self._settings, self._streams, self._held)
            if not self._stop.is_set():
                self._turn.run()
        finally:
            self._turn = None
            self._lease.release()
