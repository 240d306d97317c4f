"""The lease: a lock in the database that says which of many processes does what one alone may do."""

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

import queries.reader
from database import Database, Replaced, Unavailable
from storage.locks import Lock


class Lease:
    """Held by the very connection that writes, so that whoever cannot write does not hold it."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._connection: Connection | None = None
        self._lock: Lock | None = None
        self.taken = 0
        """How often it has been taken: in between, another process may have had it."""

    @property
    def connection(self) -> Connection:
        """The connection that holds the lease. Raises Unavailable when it is not held."""
        self._drop_if_broken()
        if self._connection is None:
            raise Unavailable("the lease is not held")
        return self._connection

    def acquire(self) -> bool:
        """Take the lease, or keep it; False: another process has it. Raises Unavailable."""
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
        """Ask the database whether the connection is alive; if not, try to take the lease anew. Raises Unavailable."""
        self._drop_if_broken()
        if self._connection is not None:
            try:
                queries.reader.ping(self._connection)
                self._connection.commit()
            except SQLAlchemyError:
                self._drop()
        return self.acquire()

    def release(self) -> None:
        """Give the lease back."""
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
        # SQLAlchemy opens a new connection in the place of a broken one by itself, and that one has no lock.
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
