"""Private files, and atomic replacement: a killed process leaves the old file or the new one."""

import contextlib
import os
import stat
from pathlib import Path

PRIVATE = 0o077
"""The umask of files that only this user may read."""


def keep_private() -> None:
    """Make all files that this process and its children create private to this user."""
    os.umask(PRIVATE)


def others_may_read(file: Path) -> bool:
    """Return whether every user of this machine may read a file."""
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def replace(file: Path, content: bytes) -> None:
    """Replace a file's content and sync it to disk; not thread-safe. Raises OSError."""
    # The name is fixed, so that the remains of a killed process are overwritten.
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    try:
        # Private from the start: others must not read it even briefly.
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(file.stat().st_mode))
            os.fsync(descriptor)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Not every file system supports it, and the file is already replaced.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
