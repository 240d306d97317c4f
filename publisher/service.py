"""The static publisher as a service: one process publishes a file, keeps up with its changes, and tells how it goes."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from broker.connection import tls_context
from config import Settings, SettingsError, load_settings
from publisher.entries import PublishConfig
from publisher.loader import DEFAULT_PATH, ConfigurationError, ConfigurationLoader
from publisher.run import NOBODY, Run, nothing_run
from publisher.status import Status, saved, summary, table
from utils import clock, files
from utils.logger import Throttle, flush_throttles

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""How often it looks whether the file has changed, or whether the process that publishes it has ended."""
SAVE_SECONDS = 5.0
LOG_SECONDS = 60.0
OLD_SECONDS = 15.0
"""A status that nobody has saved for so long is of a process that was killed."""
MOST_LINES = 20


class AlreadyPublished(Exception):
    """Another process publishes the file."""


class PublisherService:
    """Publishes a file, from `start` to `stop`; its methods may be called by any thread.

    Without `settings` those of the environment; without `path` the one that they name. Raises SettingsError.
    """

    def __init__(self, settings: Settings | None = None, path: str | Path | None = None) -> None:
        self._settings = settings or load_settings()
        if self._settings.broker.tls:
            tls_context(self._settings)  # a bad certificate is told now, and not when it is this process's turn
        self.path = Path(path or self._settings.publisher_config or DEFAULT_PATH)
        self._loader = ConfigurationLoader(self.path)
        self._configs: Sequence[PublishConfig] = ()
        self._loading = threading.RLock()
        """Held while the file is read, which may take for ever, and until what was read is published."""
        self._changing = threading.RLock()
        """Held, always for a short time, by whoever begins or ends a run or saves its statistics; after `_loading`."""
        # As it is named: a link may be switched to another file, which is a change like any other.
        named = self.path.absolute()
        self._turn = FileLock(f"{named}.lock", thread_local=False)
        self._file = Path(f"{named}.statistics")
        self._run: Run | None = None
        self._throttle = Throttle(LOG_SECONDS)
        self._ending = threading.Event()
        """Set by the next stop, for every start until then: a thread that hung in a load meanwhile finds it set."""
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it does what it was started for."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self, standby: bool = False) -> None:
        """Publish from now on; in `standby` as soon as it can: no other process does, and the file can be read.

        Nothing, if it is started already. Raises ConfigurationError, AlreadyPublished.
        """
        ending = self._ending
        with self._loading:
            if self._thread is not None or ending.is_set():
                return
            if standby:
                self._take_turn_later(ending)
            else:
                self._load()  # first: where there is no such file there is often no folder for its lock either
                if not self._take_turn(ending):
                    raise AlreadyPublished(f"{self.path}: another process publishes it already")
            with self._changing:
                if not ending.is_set():
                    watch = threading.Thread(
                        target=self._look_after, args=(ending,), name="publisher-watch", daemon=True
                    )
                    self._thread = watch
                    watch.start()

    def stop(self) -> None:
        """Say offline for every last will, disconnect and save the statistics; within two seconds."""
        with self._changing:
            self._ending.set()
            self._ending = threading.Event()
            thread, self._thread = self._thread, None
            run, self._run = self._run, None
            if run is not None:
                run.connections.disconnect()
                self._save(run, running=False)
                logger.info("Stopped publishing %s", self.path)
            self._turn.release(force=True)
        if thread is not None:
            thread.join(0.3)

    def reload_config(self) -> bool:
        """Read the file and publish what it says; False if it cannot be read: then nothing changes."""
        with self._loading:
            try:
                self._load()
            except ConfigurationError as error:
                logger.error("%s; the last good configuration stays", error)  # noqa: TRY400 - it says all
                return False
            run = self._run
            if run is not None:
                run.apply(self._configs)
        return True

    def get_status(self) -> Status:
        """How it goes, here or in the process that publishes the file: connection, counts in total and per entry."""
        run = self._run
        if run is not None:
            return self._status(run)
        found = saved(self._file)
        if found is None:
            return self._status(None)
        age = clock.now() - clock.parse(found["statistics"]["saved_at"])
        if not found["running"] or abs(age.total_seconds()) > OLD_SECONDS:
            found |= {"running": False, "connected": False, "problem": NOBODY}
            found["connections"]["open"] = 0
        return found

    def _load(self) -> None:
        """Read the file; for who holds `_loading`."""
        before, self._configs = self._configs, self._loader.load_configurations()
        if self._configs is before:
            return
        for fault in self._loader.faults:
            logger.error("%s: %s", self.path, fault)
        logger.info("%s: %d configurations, %d faults", self.path, len(self._configs), len(self._loader.faults))

    def _take_turn(self, ending: threading.Event) -> bool:
        """Begin to publish, unless the start has ended meanwhile; False if another process publishes the file."""
        with self._loading:
            if not self._acquire(ending):
                return False
            try:
                self._load()
                before = saved(self._file)
                with self._changing:
                    if self._run is None and not ending.is_set():
                        self._run = Run(self._settings, before, self._configs)
                        logger.info("Publishing %s to the broker %s", self.path, self._settings.broker)
            finally:
                with self._changing:
                    if self._run is None:
                        self._turn.release(force=True)
        return True

    def _acquire(self, ending: threading.Event) -> bool:
        """Lock the file against other processes until `stop`; False if one of them has."""
        with self._changing:
            try:
                if not ending.is_set():
                    self._turn.acquire(timeout=0)
            except Timeout:
                return False
            except OSError as error:
                message = f"{self._turn.lock_file}: cannot be written: {error.strerror}; the folder must be writable"
                raise ConfigurationError(message) from error
        return True

    def _take_turn_later(self, ending: threading.Event) -> None:
        """Take the turn if it is free; what is in the way is told, and it is tried again."""
        try:
            self._take_turn(ending)
        except (ConfigurationError, SettingsError, OSError) as error:
            self._throttle.warn(logger, "turn", str(error))

    def _look_after(self, ending: threading.Event) -> None:
        problem: str | None = "not connected yet"
        save, tell = 0.0, time.monotonic() + LOG_SECONDS
        while not ending.wait(LOOK_SECONDS):
            flush_throttles()
            run = self._run
            if run is None:
                self._take_turn_later(ending)
                continue
            if not run.alive:
                self._give_up(run)
                continue
            if self._loader.changed():
                self.reload_config()
            if ending.is_set():
                return
            before, problem = problem, run.problem
            if problem != before:
                self._tell_connection(problem)
            now = time.monotonic()
            if now >= save or problem != before:
                with self._changing:
                    if run is self._run:  # what was saved when it ended is the last word
                        self._save(run, running=True)
                save = now + SAVE_SECONDS
            if now >= tell:
                self._tell(run)
                tell += LOG_SECONDS

    def _give_up(self, run: Run) -> None:
        """Leave the turn to whoever takes it next, perhaps this process: the thread of its run has ended."""
        with self._changing:
            if run is self._run:
                self._run = None
                self._save(run, running=False)
                self._turn.release(force=True)

    def _save(self, run: Run, *, running: bool) -> None:
        """Save its statistics; for who holds `_changing`."""
        status = self._status(run)
        status["running"] = running
        try:
            files.replace(self._file, msgspec.json.encode(status))
        except OSError as error:
            self._throttle.warn(logger, "save", f"{self._file}: cannot be saved: {error.strerror}")

    def _tell_connection(self, problem: str | None) -> None:
        if problem is None:
            logger.info("Connected to the broker %s", self._settings.broker)
        else:
            logger.warning("The broker %s: %s", self._settings.broker, problem)

    def _tell(self, run: Run) -> None:
        status = self._status(run)
        logger.info("%s", summary(status))
        for line in table(status, MOST_LINES):
            logger.info("%s", line)

    def _status(self, run: Run | None) -> Status:
        return {
            "running": run is not None,
            "broker": str(self._settings.broker),
            "config": str(self.path),
            "active_configs": len(self._configs),
            "faults": [str(fault) for fault in self._loader.faults],
            **(nothing_run() if run is None else run.status()),
        }
