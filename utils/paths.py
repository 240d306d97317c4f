"""Checks of paths in settings; each returns the path, or raises ValueError with what is allowed."""

import os
import stat
from pathlib import Path
from tempfile import TemporaryFile

LONGEST_NAME = 255
"""Bytes in the name of a file, on all usual file systems."""
_WRITABLE = "must be a file that can be written"


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
    """Return the path of a file that can be written or created. Raises ValueError."""
    if path == Path(os.devnull):
        return path
    mode = _mode(path)
    if mode and not stat.S_ISREG(mode):
        raise ValueError(f"{_WRITABLE}, and is a {'folder' if stat.S_ISDIR(mode) else 'device'}")
    try:
        if mode:
            path.open("ab").close()
        else:
            _check_names(path)
            check_folder(next(one for one in path.absolute().parents if _mode(one)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{_WRITABLE}: {reason}") from error
    return path


def check_folder(folder: Path) -> None:
    """Make a file without a name: permissions alone say too little, as of /proc. Raises OSError."""
    with TemporaryFile(dir=folder):
        pass


def _check_names(path: Path) -> None:
    if any(len(os.fsencode(name)) > LONGEST_NAME for name in path.parts):
        raise ValueError(f"a name in it has more than {LONGEST_NAME} bytes")
    # The whole may be too long too, or have a null character.
    path.absolute().exists()
    if "\0" in str(path):
        raise ValueError("it has a null character")


def _mode(path: Path) -> int:
    """Return the mode of an existing file or folder; 0 if there is none."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
