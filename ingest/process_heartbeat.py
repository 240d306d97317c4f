"""The heartbeat of a process: a row that says it runs, and with which declarations."""

import logging
import threading

from sqlalchemy import Connection

import queries.installation
import queries.processes
from database import Database, Unavailable
from utils import clock
from utils.logger import Throttle
from utils.process import own_name

logger = logging.getLogger(__name__)
BEAT_SECONDS = 10.0
RETRY_SECONDS = 1.0
STOP_SECONDS = 5.0


class ProcessHeartbeat:
    """Writes the row of this process in a thread, which also shows whether it can write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._name = own_name()
        self._throttle = Throttle(seconds=60)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._name = own_name()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and delete the row of the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            beaten = self._write(leaving=False)
            self._stop.wait(BEAT_SECONDS if beaten else RETRY_SECONDS)
        self._write(leaving=True)

    def _write(self, leaving: bool) -> bool:
        try:
            with self._database.write() as connection:
                with self._database.transaction(connection):
                    self._replace(connection, leaving)
                self._database.client_id = queries.installation.client_id(connection)
        except Unavailable as error:
            self._throttle.warn(logger, "beat", f"The database cannot be used: {error}")
            return False
        return True

    def _replace(self, connection: Connection, leaving: bool) -> None:
        if leaving:
            queries.processes.leave(connection, self._name, clock.now())
        else:
            declarations = self._database.declarations
            queries.processes.beat(connection, self._name, declarations, clock.now())
