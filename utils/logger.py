"""Log to a coloured console and a rotating file, and append to other rotating files."""

import errno
import logging
import logging.config
import os
import re
import threading
import time
import weakref
from contextlib import closing, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, NamedTuple

from utils import log_streams
from utils.log_lines import FORMAT, Coloured, Flood, OneLine
from utils.paths import LOG_LINE, is_foreign, is_stream

logger = logging.getLogger(__name__)
MEGABYTE = 1024 * 1024
MAX_FILE_BYTES = 10 * MEGABYTE
BACKUP_FILES = 5
MAX_KEYS = 1_000
_process_name = ""
_throttles: "weakref.WeakSet[Throttle]" = weakref.WeakSet()


def configure(level: str, file: Path, process_name: str = "") -> None:
    """Send records of `level` and above to the console and to `file` (10 MB × 5).

    `process_name` becomes part of the name of this file and of the files that `append` writes.
    """
    global _process_name  # noqa: PLW0603 - like the log itself, it belongs to the process
    _process_name = process_name
    logging.config.dictConfig(_configuration(level, file))


def _configuration(level: str, file: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"()": OneLine, "fmt": FORMAT},
            "coloured": {"()": Coloured, "fmt": f"%(log_color)s{FORMAT}"},
        },
        "filters": {"flood": {"()": Flood}},
        "handlers": {
            "console": {
                "class": "colorlog.StreamHandler",
                "formatter": "coloured",
                "filters": ["flood"],
            },
            "file": {
                "class": "logging.StreamHandler",
                "formatter": "plain",
                "filters": ["flood"],
                "stream": _LogFile(file),
            },
        },
        "root": {"level": level, "handlers": ["console", "file"]},
        "loggers": {
            "alembic": {"level": "WARNING"},
            "werkzeug": {"level": "WARNING"},
            # Its own handlers do not escape what clients send.
            "gunicorn.error": {"handlers": [], "propagate": True},
        },
    }


class Rotation(NamedTuple):
    """The size in bytes at which a file is rotated, and the number of old files kept."""

    size: int = MAX_FILE_BYTES
    kept: int = BACKUP_FILES
    mark: re.Pattern[bytes] = LOG_LINE
    """What is in each of these files; one without it is someone else's and is not renamed."""


class _LogFile:
    """The stream of the log: opens the file for each record, as `append` does.

    So a file that was renamed or deleted, or whose folder was, is made anew.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._missing = 0
        self._throttle = Throttle(seconds=60)

    def write(self, text: str) -> None:
        """Append the lines of a record; if this fails, the console says so."""
        try:
            append(self._file, b"", text.encode(errors="backslashreplace"), Rotation())
        except OSError as error:
            self._missing += 1
            missing = f"{self._missing} records are missing from the log so far"
            line = f"LOG_FILE={self._file}: cannot be written: {error}; {missing}"
            # This line comes back here, and the throttle then holds it.
            self._throttle.warn(logger, "write", line)


def append(file: Path, header: bytes, lines: bytes, rotation: Rotation) -> None:
    """Append whole lines to this process's `file`, all or none; each file begins with `header`.

    The data has reached the kernel on return. Not thread-safe. Raises OSError.
    """
    if is_stream(file):
        log_streams.write(file, header, lines)
        return
    file = _own(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if _is_full(file, len(lines), rotation.size):
        if is_foreign(file, rotation.mark):
            fault = "it would be rotated, but its content is not AutoForge's; move it away"
            raise OSError(errno.EEXIST, fault, str(file))
        with closing(RotatingFileHandler(file, backupCount=rotation.kept, delay=True)) as old:
            old.doRollover()
    with file.open("ab", buffering=0) as opened:
        before = opened.tell()
        left = memoryview(lines if before else header + lines)
        try:
            while left:
                left = left[opened.write(left) :]
        except OSError:
            # Its own error, such as that of a device, must not hide the first.
            with suppress(OSError):
                opened.truncate(before)
            raise


def _own(file: Path) -> Path:
    """Return the file of this process: two processes rotating one file would lose lines."""
    if not _process_name:
        return file
    return file.with_name(f"{file.stem}.{_process_name}{file.suffix}")


def _is_full(file: Path, more: int, most: int) -> bool:
    """Return whether a file has no room, or ends with an incomplete line of a killed process."""
    if not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 1))
            return size > 0 and (size + more > most or opened.read(1) != b"\n")
    except FileNotFoundError:
        return False


class _Held(NamedTuple):
    """The newest suppressed line of a key, and the number of suppressed lines."""

    logger: logging.Logger
    message: str
    lines: int


class Throttle:
    """Limits each key to one line per `seconds`, and reports later how many were suppressed."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._held: dict[str, _Held] = {}
        _throttles.add(self)

    def warn(self, logger: logging.Logger, key: str, message: str) -> None:
        """Log a WARNING, unless a line with the same key was logged within the time."""
        with self._lock:
            now = time.monotonic()
            held = self._held.get(key)
            count = held.lines if held else 0
            if now - self._last.get(key, -self._seconds) < self._seconds:
                self._held[key] = _Held(logger, message, count + 1)
                return
            # Insertion order is by time; beyond MAX_KEYS the oldest key is dropped.
            self._last.pop(key, None)
            self._last[key] = now
            self._held.pop(key, None)
            if len(self._last) > MAX_KEYS:
                oldest = next(iter(self._last))
                del self._last[oldest]
                self._held.pop(oldest, None)
        _warn(logger, message, count)

    def flush(self) -> None:
        """Log the newest suppressed line of each key whose time is over, with their number."""
        with self._lock:
            now = time.monotonic()
            due = [key for key in self._held if now - self._last[key] >= self._seconds]
            flushed = [self._held.pop(key) for key in due]
            self._last.update(dict.fromkeys(due, now))
        for held in flushed:
            _warn(held.logger, held.message, held.lines - 1)


def flush_throttles() -> None:
    """Flush every throttle of this process; to be called about every second."""
    for throttle in list(_throttles):
        throttle.flush()


def _warn(logger: logging.Logger, message: str, more: int) -> None:
    # The log line shows the location of the caller of `warn`.
    logger.warning("%s%s", message, f" (and {more} more like it)" if more else "", stacklevel=3)
