"""When to make the tables: at the first use, and again once another database is in the place."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from storage.dialect import Dialect
from storage.failures import Unavailable, unforeseen

logger = logging.getLogger(__name__)
READY_SECONDS = 10
RETRY_SECONDS = 1.0
POLL_SECONDS = 0.2


class Preparation:
    """Has the tables made once for each era of the database, by one thread at a time.

    `make_tables` makes them and returns the era that they belong to.
    """

    def __init__(self, dialect: Dialect, make_tables: Callable[[], int]) -> None:
        self._dialect = dialect
        self._make_tables = make_tables
        self._era: int | None = None
        self._turn = threading.Lock()
        self._failure: tuple[float, str] | None = None
        self._stopped = False

    def ensure(self) -> None:
        """Make the tables unless this has been done. Raises Unavailable."""
        if self._era != self._dialect.era:
            self._run_in_turn()

    def run(self) -> None:
        """Make the tables now. Raises Unavailable, SchemaError."""
        try:
            self._era = self._made()
        except Unavailable as error:
            self._failure = time.monotonic(), str(error)
            raise
        self._failure = None

    def stop(self) -> None:
        """Begin no other attempt: each thread that ends would wait for the server once more."""
        self._stopped = True

    def _made(self) -> int:
        try:
            return self._make_tables()
        except Unavailable:
            raise
        except Exception as error:
            # Of any thread that uses the database, this would be the end.
            logger.debug("The tables cannot be made", exc_info=True)
            raise Unavailable(f"its tables cannot be made: {unforeseen(error)}") from error

    def wait(self, seconds: float, ended: threading.Event) -> None:
        """Return once the tables are there, the time is over, or `ended` is set."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not ended.is_set():
            with contextlib.suppress(Unavailable):
                return self.ensure()
            ended.wait(POLL_SECONDS)
        return None

    def _run_in_turn(self) -> None:
        if not self._turn.acquire(timeout=READY_SECONDS):
            raise Unavailable("its tables are being made")
        try:
            self._raise_recent_failure()
            if self._stopped:
                raise Unavailable("its tables are not made, and this process is stopping")
            if self._era != self._dialect.era:
                self.run()
        finally:
            self._turn.release()

    def _raise_recent_failure(self) -> None:
        # Of many requests that wait for the same database, one tries again each second.
        if self._failure is None:
            return
        failed_at, reason = self._failure
        if time.monotonic() - failed_at < RETRY_SECONDS:
            raise Unavailable(reason)
