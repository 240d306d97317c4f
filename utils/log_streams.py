"""Write lines to devices, pipes and the standard output, which have no rotation."""

import os
from pathlib import Path

from utils.paths import own_descriptor

_NON_BLOCKING: int = getattr(os, "O_NONBLOCK", 0)
_NO_TERMINAL: int = getattr(os, "O_NOCTTY", 0)
_opened: dict[tuple[Path, bytes], int] = {}
"""Kept open: the reader of a pipe would take a close for the end of the lines."""


def write(file: Path, header: bytes, lines: bytes) -> None:
    """Write whole lines, the first time with a header. Not thread-safe. Raises OSError."""
    key = file, header
    left = memoryview(lines)
    if key not in _opened:
        _opened[key] = _open(file)
        left = memoryview(header + lines)
    try:
        while left:
            left = left[os.write(_opened[key], left) :]
    except OSError:
        os.close(_opened.pop(key))
        raise


def _open(file: Path) -> int:
    # All who write to the standard output must share its position: lines would overwrite others.
    own = own_descriptor(file)
    if own is not None:
        return os.dup(own)
    # Nobody may read the pipe yet, and the backend must not wait for that.
    flags = os.O_WRONLY | os.O_APPEND | _NON_BLOCKING | _NO_TERMINAL
    descriptor = os.open(file, flags)
    if _NON_BLOCKING:
        os.set_blocking(descriptor, True)
    return descriptor
