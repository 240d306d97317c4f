"""The turn of this process to publish a file: one process has it, the others wait for theirs."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from config import Settings
from publisher.entries import PublishConfig
from publisher.loader import ConfigurationError, ConfigurationLoader
from publisher.publication import Publication
from publisher.statistics import Statistics
from publisher.status import PublicationStatus, PublisherStatus, StatusFile
from utils import clock

logger = logging.getLogger(__name__)
NOBODY = "no process publishes it"
OLD_SECONDS = 15.0  # an older status is from a process that was killed


class PublishingTurn:
    """A file, its lock and its status; and the publication, while it is this process's turn."""

    # `loading` is held while the file is read, which may take forever, and until the result is
    # published. `changing` is held by a thread that begins or ends a publication or saves its
    # status, always for a short time. A thread that needs both takes `loading` first. A stop takes
    # `changing` only, so that no read holds it up; it sets the event `ending` of its start. A
    # thread whose read ends after that finds its event set, and begins nothing.

    def __init__(self, settings: Settings, path: Path) -> None:
        self.settings = settings
        self.path = path
        self.loader = ConfigurationLoader(path)
        self.loading = threading.RLock()
        self.changing = threading.RLock()
        self.publication: Publication | None = None
        self._configs: Sequence[PublishConfig] = ()
        # Not resolved: switching a link to another file is a change like any other.
        named = path.absolute()
        self._lock = FileLock(f"{named}.lock", thread_local=False)
        self._file = StatusFile(Path(f"{named}.statistics"))

    def load(self) -> None:
        """Read the file, and publish it if it is this process's turn. Raises ConfigurationError."""
        with self.loading:
            before, self._configs = self._configs, self.loader.load_configurations()
            if self._configs is not before:
                faults = self.loader.faults
                for fault in faults:
                    logger.error("%s: %s", self.path, fault)
                count = len(self._configs)
                logger.info("%s: %d configurations, %d faults", self.path, count, len(faults))
            publication = self.publication
            if publication is not None:
                publication.apply(self._configs)

    def take(self, ending: threading.Event) -> bool:
        """Start to publish, unless `ending` is set; False if another process has the turn."""
        with self.loading:
            if not self._acquire(ending):
                return False
            try:
                self.load()
                before = self._file.read()
                with self.changing:
                    if self.publication is None and not ending.is_set():
                        new = Publication(self.settings, before)
                        new.start(self._configs)
                        self.publication = new
                        broker = self.settings.broker
                        logger.info("Publishing %s to the broker %s", self.path, broker)
            finally:
                with self.changing:
                    if self.publication is None:
                        self._lock.release(force=True)
        return True

    def leave(self, only: Publication | None = None) -> None:
        """End the publication (only this one, if given), and release the turn."""
        with self.changing:
            publication = self.publication
            if only is not None and only is not publication:
                return
            self.publication = None
            if publication is not None:
                publication.connections.disconnect()
                self._file.write(self._status(publication) | {"running": False})
                logger.info("Stopped publishing %s", self.path)
            self._lock.release(force=True)

    def save(self) -> None:
        """Save the status."""
        with self.changing:
            # The status saved at the end of a publication is final.
            if self.publication is not None:
                self._file.write(self._status(self.publication))

    def status(self) -> PublisherStatus:
        """Return the status of the process that has the turn."""
        publication = self.publication
        if publication is not None:
            return self._status(publication)
        found = self._file.read()
        if found is None:
            return self._status(None)
        age = clock.now() - clock.parse(found["statistics"]["saved_at"])
        if not found["running"] or abs(age.total_seconds()) > OLD_SECONDS:
            found |= {"running": False, "connected": False, "problem": NOBODY}
            found["connections"]["open"] = 0
        return found

    def _acquire(self, ending: threading.Event) -> bool:
        with self.changing:
            try:
                if not ending.is_set():
                    self._lock.acquire(timeout=0)
            except Timeout:
                return False
            except OSError as error:
                text = f"cannot be written: {error.strerror}; the folder must be writable"
                raise ConfigurationError(f"{self._lock.lock_file}: {text}") from error
        return True

    def _status(self, publication: Publication | None) -> PublisherStatus:
        return {
            "running": publication is not None,
            "broker": str(self.settings.broker),
            "config": str(self.path),
            "active_configs": len(self._configs),
            "faults": self.loader.faults,
            **(_no_progress() if publication is None else publication.progress()),
        }


def _no_progress() -> PublicationStatus:
    return {
        "connected": False,
        "problem": NOBODY,
        "connections": {"open": 0, "needed": 0},
        "publisher_id": "",
        "retained": [],
        "statistics": Statistics().totals(),
        "configs": [],
    }
