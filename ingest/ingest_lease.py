"""The hold of an ingester on its database: the lease, and a pipeline that knows this database."""

import contextlib
import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection

from database import Database, Unavailable
from ingest.pipeline import Pipeline
from jobs.lease import Lease
from utils.logger import Throttle

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 10.0
IDLE_SECONDS = 1.0


class IngestLease:
    """Provides the connection to write with while the lease is held and the pipeline is current."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        pipeline: Pipeline,
        resumed: Callable[[Connection], None],
    ) -> None:
        self._database = database
        self._lease = lease
        self._pipeline = pipeline
        # Called after the state was read from the database. May raise Unavailable.
        self._on_resume = resumed
        # The value of `Lease.taken` when the pipeline last read its state.
        self._resumed = 0
        self._next_checkpoint = 0.0
        # When the last batch that may be in no checkpoint was stored, in monotonic seconds.
        self._stored_at: float | None = None
        self._throttle = Throttle(seconds=10)
        self.lost = False
        """Whether another process has taken over."""

    @property
    def connection(self) -> Connection:
        """The connection that holds the lease. Raises Unavailable."""
        connection = self._lease.connection
        if self._lease.taken != self._resumed:
            raise Unavailable("its state must be read again")
        return connection

    def resume(self) -> None:
        """Read the committed state, which another process or another file may have changed.

        Raises Unavailable.
        """
        self._database.ensure_prepared()
        taken = self._lease.taken
        self._pipeline.resume(self._lease.connection)
        self._on_resume(self._lease.connection)
        self._resumed = taken

    def invalidate(self) -> None:
        """Require `resume`, because the file of the database was replaced."""
        self._resumed = 0

    def confirmed(self) -> bool:
        """Return whether the lease is held now; resume if it was taken again."""
        if self.lost:
            return False
        try:
            self.lost = not self._lease.confirm()
            if not self.lost and self._lease.taken != self._resumed:
                self.resume()
        except Unavailable as error:
            self._throttle.warn(logger, "lease", f"The database is unavailable: {error}")
            return False
        if self.lost:
            logger.warning("Another process has taken over ingestion")
        return not self.lost

    def stored(self) -> None:
        """Record that a batch was stored."""
        self._stored_at = time.monotonic()

    def checkpoint_if_due(self) -> None:
        """Make a checkpoint after a second without a batch, and every ten seconds."""
        now = time.monotonic()
        idle = self._stored_at is not None and now - self._stored_at >= IDLE_SECONDS
        if idle or now >= self._next_checkpoint:
            self._checkpoint()

    def _checkpoint(self) -> None:
        # Users copy the database file without its write-ahead log.
        self._next_checkpoint, self._stored_at = time.monotonic() + CHECKPOINT_SECONDS, None
        with contextlib.suppress(Unavailable):  # the next batch reports it
            self._database.checkpoint(self.connection)
