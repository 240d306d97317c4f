"""The heartbeat of a process: that it runs, and with which declarations; it is forgotten when it is gone."""

import logging
import threading
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, not_, or_

import queries.ingestion
import queries.processes
from database import Database, Unavailable
from models import Process
from utils import clock
from utils.logger import Throttle
from utils.process import own_name

logger = logging.getLogger(__name__)
BEAT_SECONDS = 10.0
RETRY_SECONDS = 1.0
STOP_SECONDS = 5.0
GONE = timedelta(seconds=40)
"""A process that was not heard of for so long is gone."""


class ProcessHeartbeat:
    """Writes the row of this process, in a thread of its own; so each process knows whether it can write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._name = own_name()
        self._throttle = Throttle(seconds=60)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Run in a thread."""
        self._name = own_name()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and have the process forgotten."""
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
            with self._database.connection() as connection:
                with self._database.transaction(connection):
                    self._replace(connection, leaving)
                self._database.client_id = queries.ingestion.client_id(connection)
        except Unavailable as error:
            self._throttle.warn(logger, "beat", f"The database cannot be used: {error}")
            return False
        return True

    def _replace(self, connection: Connection, leaving: bool) -> None:
        now = clock.now()
        gone = not_(queries.processes.is_heard(now, GONE))
        connection.execute(delete(Process).where(or_(Process.name == self._name, gone)))
        if not leaving:
            values = {"name": self._name, "declarations": self._database.declarations, "heartbeat_at": now}
            connection.execute(insert(Process).values(values))
