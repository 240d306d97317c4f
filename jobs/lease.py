"""The lease: a lock in the database that at most one process holds."""

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

import queries.reader
from database import Database, Replaced, Unavailable
from storage.locks import Lock


class Lease:
    """A lock held by the connection that also writes, so a process that cannot write loses it."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._connection: Connection | None = None
        self._lock: Lock | None = None
        self.taken = 0
        """How often the lease was taken; between two times, another process may have held it."""

    @property
    def connection(self) -> Connection:
        """The connection that holds the lease. Raises Unavailable if it is not held."""
        self._drop_if_broken()
        if self._connection is None:
            raise Unavailable("the lease is not held")
        return self._connection

    def acquire(self) -> bool:
        """Take or keep the lease; return False if another process holds it. Raises Unavailable."""
        self._drop_if_broken()
        if self._connection is not None:
            return True
        connection = self._database.open()
        try:
            lock = self._database.lock(connection, self._name)
            taken = lock.acquire(0)
        except Unavailable:
            connection.close()
            raise
        except SQLAlchemyError as error:
            connection.invalidate()
            raise Unavailable(str(error).splitlines()[0]) from error
        if not taken:
            connection.close()
            return False
        self._connection, self._lock = connection, lock
        self.taken += 1
        return True

    def confirm(self) -> bool:
        """Check that the connection is alive, and if it is not, try to take the lease again.

        Return whether the lease is held. Raises Unavailable.
        """
        self._drop_if_broken()
        if self._connection is not None:
            try:
                queries.reader.ping(self._connection)
                self._connection.commit()
            except SQLAlchemyError:
                self._drop()
        return self.acquire()

    def release(self) -> None:
        """Release the lease and close its connection."""
        if self._lock is not None:
            try:
                self._lock.release()
            except SQLAlchemyError:
                self._drop()
        if self._connection is not None:
            self._connection.close()
        self._connection, self._lock = None, None

    def _drop_if_broken(self) -> None:
        connection, lock = self._connection, self._lock
        if connection is None or lock is None:
            return
        try:
            self._database.check(connection)
        except Replaced:
            self._database.abandon(connection)
        # SQLAlchemy silently replaces a broken connection by a new one, which holds no lock.
        if connection.invalidated or not lock.is_held():
            self._drop()

    def _drop(self) -> None:
        connection, lock = self._connection, self._lock
        self._connection, self._lock = None, None
        if connection is not None:
            connection.invalidate()
            connection.close()
        if lock is not None and not lock.ends_with_connection:
            lock.release()
