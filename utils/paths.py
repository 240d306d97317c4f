"""Checks of paths in settings; each returns the path, or raises ValueError with what is allowed."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from utils.text import printable

LONGEST_NAME = 255
"""Bytes in the name of a file, on all usual file systems."""
LOG_LINE = re.compile(rb"^(\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d[ T]", re.MULTILINE)
"""The beginning of a line of the log, which may be one of the console."""
AUDIT_HEADER = re.compile(rb"^\W*received_at\b", re.MULTILINE)
"""The beginning of the audit trail."""
_READ = 65_536
_WRITABLE = "must be a file that can be written"
_ADDED = len(".worker-9999.1000")
"""Bytes that a process and the rotation add to the name of a file."""
_OPEN_FILES = re.compile(r"/dev|/proc/\d+(/task/\d+)?/fd")
"""The folders of links to the files that a process has open."""


def existing_file(path: Path) -> Path:
    """Return the path of an existing file. Raises ValueError."""
    if not stat.S_ISREG(_mode(path)):
        raise ValueError("must be the path of a file that exists")
    return path


def existing_folder(path: Path) -> Path:
    """Return the path of an existing folder. Raises ValueError."""
    if not stat.S_ISDIR(_mode(path)):
        raise ValueError("must be the path of a folder that exists")
    return path


def writable_file(path: Path) -> Path:
    """Return the path of a device, or of a file that can be written or created.

    Raises ValueError.
    """
    mode = _mode(path)
    if stat.S_ISDIR(mode) or stat.S_ISBLK(mode):
        raise ValueError(f"{_WRITABLE}, and is a {'folder' if stat.S_ISDIR(mode) else 'disk'}")
    try:
        if is_stream(path):
            _check_stream(path)
        else:
            _check_names(path)
            if mode:
                path.open("ab").close()
            else:
                check_folder(_nearest_folder(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{_WRITABLE}: {reason}") from error
    return path


def check_folder(folder: Path) -> None:
    """Make a file without a name: permissions alone say too little, as of /proc. Raises OSError."""
    with TemporaryFile(dir=folder):
        pass


def is_stream(path: Path) -> bool:
    """Return whether a path is that of a device, a pipe, or an open file such as /dev/stdout.

    Others have it open too, so it is never renamed.
    """
    if path == Path(os.devnull):
        return True
    mode = _mode(path)
    if mode and not stat.S_ISREG(mode):
        return not stat.S_ISDIR(mode)
    # Standard output may be a regular file, or closed.
    return path.is_symlink() and bool(_OPEN_FILES.fullmatch(os.path.realpath(path.parent)))


def own_descriptor(path: Path) -> int | None:
    """Return the descriptor of standard output or error, if a path names one of them."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return number
    return None


def check_content(setting: str, path: Path | None, mark: re.Pattern[bytes], kind: str) -> None:
    """Raise ValueError if a file that AutoForge would rotate exists, and is not of this kind."""
    if path is not None and not is_stream(path) and is_foreign(path, mark):
        fault = f"exists and is not {kind} of AutoForge; name another file, or move it away"
        raise ValueError(f"{setting}={printable(str(path))}: {fault}")


def is_foreign(path: Path, mark: re.Pattern[bytes]) -> bool:
    """Return whether a file has something in it, but nothing with the mark of our own files."""
    try:
        with path.open("rb") as opened:
            head = opened.read(_READ)
    except OSError:
        return False
    # A power failure may leave null characters.
    return bool(head.strip(b"\0\r\n\t ")) and mark.search(head) is None


def _check_stream(path: Path) -> None:
    if own_descriptor(path) is not None:
        return  # it is already open, so its permissions do not matter
    if stat.S_ISSOCK(_mode(path)):
        raise ValueError("it is a socket")
    if not os.access(path, os.W_OK):
        raise ValueError("it cannot be opened")


def _check_names(path: Path) -> None:
    if any(len(os.fsencode(name)) > LONGEST_NAME for name in path.parts):
        raise ValueError(f"a name in it has more than {LONGEST_NAME} bytes")
    # The whole may be too long too, or have a null character.
    path.absolute().exists()
    if "\0" in str(path):
        raise ValueError("it has a null character")
    most, has = _longest_name(_nearest_folder(path)) - _ADDED, len(os.fsencode(path.name))
    if has > most:
        added = f"{_ADDED} for a process and the number of an old file"
        raise ValueError(f"its name may have {most} bytes, besides {added}, and has {has}")
    path.with_name("x" * (has + _ADDED)).absolute().exists()


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return LONGEST_NAME  # Windows does not say


def _nearest_folder(path: Path) -> Path:
    return next(one for one in path.absolute().parents if _mode(one))


def _mode(path: Path) -> int:
    """Return the mode of an existing file or folder; 0 if there is none."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
