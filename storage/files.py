"""The files behind a SQLite connection, and what to save once others are in their place.

SQLite goes on writing into a file that has been deleted, renamed or replaced, without an error, and
into the write-ahead log beside it. So each commit compares the files of its connection with those
that have the names now. A backup copied over the open file shows in the counter at its head, which
otherwise never falls.
"""

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple, Self

Identity = tuple[int, int] | None
"""Device and inode; None where there is no file."""
LOG, SHARED = "-wal", "-shm"
ASIDE = ".old"
BUSY_MS = 1000


def identity(path: str) -> Identity:
    """Which file has this name."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def size(path: str) -> int:
    """Bytes in a file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a Path costs more than the call
    except OSError:
        return 0


class Files(NamedTuple):
    """The files of a database at one moment."""

    main: Identity
    log: Identity
    shared: Identity
    size: int
    """Bytes in the main file."""
    changed: int
    """When the main file was written last, in ns."""

    @classmethod
    def of(cls, name: str, path: str) -> Self:
        """The files that have the names now.

        `path` is `name` without symbolic links, where SQLite puts the other two.
        """
        others = identity(path + LOG), identity(path + SHARED)
        try:
            found = os.stat(name)  # noqa: PTH116 - likewise
        except OSError:
            return cls(None, *others, 0, 0)
        return cls((found.st_dev, found.st_ino), *others, found.st_size, found.st_mtime_ns)


class Headers:
    """Reads the heads of main files, each through a descriptor that stays open with the file.

    Closing a descriptor would take away SQLite's own locks on the file.
    """

    def __init__(self) -> None:
        self._descriptors: dict[Identity, int] = {}

    def changes(self, name: str, file: Identity) -> int:
        """SQLite's counter of changes in a file; 0 where it cannot be read."""
        if file not in self._descriptors:
            with contextlib.suppress(OSError):
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(descriptor)
                self._descriptors[found.st_dev, found.st_ino] = descriptor
        head = os.pread(self._descriptors[file], 4, 24) if file in self._descriptors else b""
        return int.from_bytes(head, "big")

    def close(self) -> None:
        """Close the descriptors, once no connection is left."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


class OpenFiles:
    """The files that a connection has opened."""

    def __init__(self, name: str, connection: sqlite3.Connection, headers: Headers) -> None:
        self._name = name
        self._path = os.path.realpath(name)
        self._connection = connection
        self._headers = headers
        self._then = Files.of(name, self._path)
        self.looked_at = 0.0
        """When `fault` last looked, in monotonic seconds."""
        self._changes = headers.changes(name, self._then.main)

    @property
    def main(self) -> Identity:
        """The database's own file."""
        return self._then.main

    def fault(self) -> str | None:
        """What has happened to the files since they were opened; None while they are the same."""
        now, then = Files.of(self._name, self._path), self._then
        self.looked_at = time.monotonic()
        if now == then:
            return None
        if now.main != then.main:
            return f"{self._name} " + ("is gone" if now.main is None else "is another file now")
        if now.size == 0:
            return f"{self._name} has been emptied"
        if (now.log, now.shared) != (then.log, then.shared):
            return f"{self._name}{LOG if now.log != then.log else SHARED} has been deleted"
        changes = self._headers.changes(self._name, now.main)
        if changes < self._changes or (now.size < then.size and not self._is_whole()):
            return f"{self._name} has been overwritten"
        self._then, self._changes = now, changes
        return None

    def abandon(self) -> None:
        """Save what only the log holds into its file; move it out of the way of another file."""
        now, then = Files.of(self._name, self._path), self._then
        if now.main != then.main:
            self._save()
            self._set_aside(LOG, then.log)
            self._set_aside(SHARED, then.shared)
        elif now.size == 0:
            self._save()
            if not self._is_whole():
                self._set_aside("", then.main)
                self._set_aside(LOG, then.log)
                self._set_aside(SHARED, then.shared)
        elif now.size < then.size or self._headers.changes(self._name, now.main) < self._changes:
            self._empty_log(then.log)
            self._set_aside(SHARED, then.shared)
        elif now.log == then.log or size(self._path + LOG) == 0:
            # A new log that holds something belongs to a process that saved the old one.
            self._save()

    def _save(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            # A connection that still reads saves it when it ends.
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_MS}").close()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def _is_whole(self) -> bool:
        # After VACUUM a file is smaller too, and none of its pages is missing.
        with contextlib.suppress(sqlite3.Error):
            # The pages in its cache may no longer be in the file.
            self._connection.execute("PRAGMA shrink_memory").close()
            return bool(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        return False

    def _set_aside(self, suffix: str, old: Identity) -> None:
        # SQLite would take the log of the old file for that of the new one.
        path = self._path + suffix
        if old is not None and identity(path) == old:
            with contextlib.suppress(OSError):
                os.replace(path, path + ASIDE)  # noqa: PTH105 - names here are text

    def _empty_log(self, old: Identity) -> None:
        # The last connection to close writes the log into the file, which is now another one.
        path = Path(self._path + LOG)
        if old is not None and identity(str(path)) == old:
            with contextlib.suppress(OSError):
                shutil.copyfile(path, f"{path}{ASIDE}")
                os.truncate(path, 0)
                path.unlink()


def check_log(path: str, connection: sqlite3.Connection) -> None:
    """Refuse a log that was made anew while another connection writes the deleted one.

    Raises sqlite3.Error.
    """
    if size(path + LOG) > 0:
        return
    frames = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    if frames > 0 and size(path + LOG) == 0:
        deleted = f"{path}{LOG} was deleted while another connection uses it"
        raise sqlite3.OperationalError(deleted)
