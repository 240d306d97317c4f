"""Locks that one process at a time holds: on a file beside the database, or on the server."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text

from storage.failures import Unavailable
from storage.files import Identity, identity


class Lock(ABC):
    """A lock that one process at a time holds."""

    ends_with_connection = True

    @abstractmethod
    def acquire(self, wait_seconds: float) -> bool:
        """Try to take it, waiting this long. Raises Unavailable, SQLAlchemyError."""

    def is_held(self) -> bool:
        """Whether it still excludes others; False if it has been taken away."""
        return True

    @abstractmethod
    def release(self) -> None:
        """Give it back."""


@contextmanager
def held(lock: Lock, wait_seconds: float, otherwise: str) -> Iterator[None]:
    """Hold a lock inside a `with` block. Raises Unavailable with the text `otherwise`."""
    if not lock.acquire(wait_seconds):
        raise Unavailable(otherwise)
    try:
        yield
    finally:
        lock.release()


class FileLockOf(Lock):
    """A lock on a file beside the SQLite database; deleting the file takes the lock away."""

    ends_with_connection = False

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._lock = FileLock(path, thread_local=False)
        self._held: Identity = None

    def acquire(self, wait_seconds: float) -> bool:
        try:
            self._lock.acquire(timeout=wait_seconds)
        except Timeout:
            return False
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be locked: {error.strerror}") from error
        self._held = identity(self._path)
        if self._held is None:
            self._lock.release()
        return self._held is not None

    def is_held(self) -> bool:
        return self._held is not None and identity(self._path) == self._held

    def release(self) -> None:
        self._held = None
        self._lock.release()


class SessionLock(Lock):
    """A lock that the server keeps for a connection."""

    def __init__(
        self,
        connection: Connection,
        take: str,
        give: str,
        arguments: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._take = take
        self._give = give
        self._arguments = arguments

    def acquire(self, wait_seconds: float) -> bool:
        arguments = {**self._arguments, "wait": wait_seconds}
        taken = self._connection.execute(text(self._take), arguments).scalar()
        self._connection.commit()
        return bool(taken)

    def release(self) -> None:
        self._connection.execute(text(self._give), self._arguments)
        self._connection.commit()
