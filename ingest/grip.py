"""The grip of an ingester on its database: the lease, and that what the pipeline knows is of this very database."""

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


class Grip:
    """Gives the connection to write with, while the lease is held and nothing has to be read anew."""

    def __init__(
        self, database: Database, lease: Lease, pipeline: Pipeline, resumed: Callable[[Connection], None]
    ) -> None:
        self._database = database
        self._lease = lease
        self._pipeline = pipeline
        self._tell_resumed = resumed
        """Told when what is committed was read, perhaps that of another file. May raise Unavailable."""
        self._resumed = 0
        """Which taking of the lease the pipeline knows of."""
        self._next_checkpoint = 0.0
        self._stored_at: float | None = None
        """When the last batch was stored that may be in no checkpoint yet, in monotonic seconds."""
        self._throttle = Throttle(seconds=10)
        self.lost = False
        """Whether another process has taken over."""

    @property
    def connection(self) -> Connection:
        """The connection that holds the lease. Raises Unavailable."""
        connection = self._lease.connection
        if self._lease.taken != self._resumed:
            raise Unavailable("what it holds has to be read anew")
        return connection

    def resume(self) -> None:
        """Learn what is committed: before this, another process wrote, or another file was here. Raises Unavailable."""
        self._database.ensure_prepared()
        taken = self._lease.taken
        self._pipeline.resume(self._lease.connection)
        self._tell_resumed(self._lease.connection)
        self._resumed = taken

    def loosen(self) -> None:
        """Have everything read anew: another file is in the place of the database."""
        self._resumed = 0

    def confirmed(self) -> bool:
        """Whether the lease is held at this moment."""
        if self.lost:
            return False
        try:
            self.lost = not self._lease.confirm()
            if not self.lost and self._lease.taken != self._resumed:
                self.resume()
        except Unavailable as error:
            self._throttle.warn(logger, "lease", f"The database is away: {error}")
            return False
        if self.lost:
            logger.warning("Another process has taken over ingesting")
        return not self.lost

    def stored(self) -> None:
        """A batch was stored."""
        self._stored_at = time.monotonic()

    def tidy(self) -> None:
        """Make a checkpoint when nothing has come for a second, and every ten seconds."""
        now = time.monotonic()
        idle = self._stored_at is not None and now - self._stored_at >= IDLE_SECONDS
        if idle or now >= self._next_checkpoint:
            self._checkpoint()

    def _checkpoint(self) -> None:
        # People copy the file of the database without its log.
        self._next_checkpoint, self._stored_at = time.monotonic() + CHECKPOINT_SECONDS, None
        with contextlib.suppress(Unavailable):  # the next batch says so
            self._database.checkpoint(self.connection)
