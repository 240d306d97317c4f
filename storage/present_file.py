"""Keeps a pool's connections to the SQLite file that has the database's name now."""

import logging
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from storage.files import Headers, Identity, OpenFiles, size

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 0.5
"""Before a replaced file is opened; by then all processes have ended what they had begun."""
LOOK_SECONDS = 0.1
_FILES, _ERA = "files", "era"


class PresentFile:
    """The file that has a name now; a connection to an earlier one is given up, and all like it."""

    def __init__(self, name: str) -> None:
        self.era = 0
        """Counts the files that were found under the name, one after the other."""
        self._name = name
        self._main: Identity = None
        self._headers = Headers()
        self._open_at = 0.0

    def watch(self, engine: Engine) -> None:
        """Check the connections of this engine when the pool hands them out and takes them back."""
        self._engine = engine
        event.listen(engine, "do_connect", self._before_connect)
        event.listen(engine, "checkout", self._on_checkout)
        event.listen(engine, "checkin", self._on_checkin)

    def opened(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        """Note the files of a new connection, all of which it has opened."""
        files = OpenFiles(self._name, connection, self._headers)
        if self._main not in (None, files.main):
            self.era += 1
        self._main = files.main
        record.info[_FILES] = files
        record.info[_ERA] = self.era

    def fault(self, connection: Connection) -> str | None:
        """What has happened to the files of a connection; None while they are the same."""
        return None if connection.invalidated else _files(connection).fault()

    def abandon(self, connection: Connection) -> None:
        """Save what the connection's log holds, and open the file anew."""
        if connection.invalidated:
            return
        files = _files(connection)
        fault = files.fault() or f"{self._name} holds something else"
        files.abandon()
        connection.invalidate()
        self._open_anew(fault)

    def close(self) -> None:
        """Release the descriptors, once no connection is left."""
        self._headers.close()

    def _before_connect(self, *_: Any) -> None:
        if time.monotonic() < self._open_at:
            raise sqlite3.OperationalError(f"{self._name} is being opened anew")
        if size(self._name) == 0:
            self.era += 1

    def _on_checkout(self, _: Any, record: ConnectionPoolEntry, __: Any) -> None:
        files: OpenFiles = record.info[_FILES]
        # A writer checks the files once more.
        if time.monotonic() - files.looked_at > LOOK_SECONDS and (fault := files.fault()):
            files.abandon()
            self._open_anew(fault)
            raise DisconnectionError(fault)

    def _on_checkin(
        self,
        connection: sqlite3.Connection | None,
        record: ConnectionPoolEntry,
    ) -> None:
        if connection is None or record.info.get(_ERA) == self.era:
            return
        files: OpenFiles = record.info[_FILES]
        if files.fault():
            files.abandon()
        record.invalidate()

    def _open_anew(self, fault: str) -> None:
        logger.warning("%s: it is opened anew", fault)
        self.era += 1
        self._open_at = time.monotonic() + PAUSE_SECONDS
        self._engine.dispose()


def _files(connection: Connection) -> OpenFiles:
    files: OpenFiles = connection.info[_FILES]
    return files
