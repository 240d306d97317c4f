"""The static publisher as a service: one process publishes a file and follows its changes."""

import logging
import threading
import time
from pathlib import Path

from broker.connection import shared_context
from config import Settings, SettingsError, load_settings
from publisher.loader import DEFAULT_PATH, ConfigurationError
from publisher.publication import Publication
from publisher.status import PublisherStatus, summary, table
from publisher.turn import PublishingTurn
from utils.logger import Throttle, flush_throttles

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # between checks of the file, and of whether a process publishes it
SAVE_SECONDS = 5.0
LOG_SECONDS = 60.0
MOST_LINES = 20


class AlreadyPublished(Exception):
    """Another process publishes the file."""


class PublisherService:
    """Publishes a file from `start` to `stop`; any thread may call its methods.

    `settings` are by default the environment's, and `path` is the file that they name.
    Raises SettingsError.
    """

    def __init__(self, settings: Settings | None = None, path: str | Path | None = None) -> None:
        self._settings = settings or load_settings()
        shared_context(self._settings)  # a bad certificate must fail here, not in a later turn
        self.path = Path(path or self._settings.publisher_config or DEFAULT_PATH)
        self._turn = PublishingTurn(self._settings, self.path)
        self._throttle = Throttle(LOG_SECONDS)
        self._ending = threading.Event()  # `stop` sets it for all earlier starts
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self._save = self._log = 0.0

    @property
    def alive(self) -> bool:
        """Whether it was started, and its thread runs."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self, standby: bool = False) -> None:
        """Start to publish; in `standby`, once no other process does and the file can be read.

        Does nothing if it is started already. Raises ConfigurationError, AlreadyPublished.
        """
        ending = self._ending
        with self._turn.loading:
            if self._thread is not None or ending.is_set():
                return
            if standby:
                self._take_turn_if_free(ending)
            else:
                self._turn.load()  # first: without a file, no lock file must be created
                if not self._turn.take(ending):
                    raise AlreadyPublished(f"{self.path}: another process publishes it already")
            with self._turn.changing:
                if not ending.is_set():
                    self._thread = threading.Thread(
                        target=self._watch, args=(ending,), name="publisher-watch", daemon=True
                    )
                    self._thread.start()

    def stop(self) -> None:
        """Publish every will, disconnect and save the statistics, within two seconds."""
        with self._turn.changing:
            self._ending.set()
            self._ending = threading.Event()
            thread, self._thread = self._thread, None
            self._turn.leave()
        if thread is not None:
            thread.join(0.3)

    def reload_config(self) -> bool:
        """Reload and publish the file; return False, without a change, if it cannot be read."""
        try:
            self._turn.load()
        except ConfigurationError as error:
            message = "%s; the last good configuration stays"
            logger.error(message, error)  # noqa: TRY400 - a traceback would say nothing more
            return False
        return True

    def get_status(self) -> PublisherStatus:
        """Return the status of the process that publishes the file, which may be this one."""
        return self._turn.status()

    def _take_turn_if_free(self, ending: threading.Event) -> None:
        try:
            self._turn.take(ending)
        except (ConfigurationError, SettingsError, OSError) as error:
            self._throttle.warn(logger, "turn", str(error))

    def _watch(self, ending: threading.Event) -> None:
        self._problem = "not connected yet"
        self._save, self._log = 0.0, time.monotonic() + LOG_SECONDS
        while not ending.wait(LOOK_SECONDS):
            flush_throttles()
            publication = self._turn.publication
            if publication is None:
                self._take_turn_if_free(ending)
            elif not publication.connections.alive:
                self._turn.leave(publication)  # this process may take it again
            else:
                if self._turn.loader.changed():
                    self.reload_config()
                if not ending.is_set():
                    self._report(publication)

    def _report(self, publication: Publication) -> None:
        before, problem = self._problem, publication.problem
        self._problem = problem
        if problem != before and problem is None:
            logger.info("Connected to the broker %s", self._settings.broker)
        elif problem != before:
            logger.warning("The broker %s: %s", self._settings.broker, problem)
        now = time.monotonic()
        if problem != before or now >= self._save:
            self._turn.save()
            self._save = now + SAVE_SECONDS
        if now >= self._log:
            self._log += LOG_SECONDS
            status = self._turn.status()
            for line in (summary(status), *table(status, MOST_LINES)):
                logger.info("%s", line)
