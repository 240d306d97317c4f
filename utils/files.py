"""Files: who may read them, and how one is replaced as a whole, so that a killed process leaves the old or the new."""

import contextlib
import os
import stat
from pathlib import Path

PRIVATE = 0o077
"""The umask of files that nobody but this user may read."""


def keep_private() -> None:
    """Make every file that this process and its children create one of this user alone."""
    os.umask(PRIVATE)


def others_may_read(file: Path) -> bool:
    """Whether every user of this machine may read a file."""
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def replace(file: Path, content: bytes) -> None:
    """Give a file new content, and make sure that it is on the disk. Not for two callers at once. Raises OSError."""
    # Always the same name: what a killed process has left is overwritten.
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    try:
        # What nobody else may read may not be read for a moment either.
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
        # Not every file system can, and the change is made already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
