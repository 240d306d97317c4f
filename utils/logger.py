"""Logging: a coloured console and a rotating file; and other files that rotate as the log does."""

import logging
import logging.config
import os
import threading
import time
import weakref
from contextlib import closing
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NamedTuple

from utils.log_lines import FORMAT, Coloured, Flood, OneLine

MEGABYTE = 1024 * 1024
MAX_FILE_BYTES = 10 * MEGABYTE
BACKUP_FILES = 5
MAX_KEYS = 1_000
_process_name = ""
_throttles: "weakref.WeakSet[Throttle]" = weakref.WeakSet()


def configure(level: str, file: Path, process_name: str = "") -> None:
    """Send records of `level` and above to the console and to `file` (10 MB × 5).

    `process_name` goes into the name of this file and of those that `append` writes.
    """
    global _process_name  # noqa: PLW0603 - like the log itself, it belongs to the process
    _process_name = process_name
    file = _own(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.config.dictConfig(
        {
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
                    "class": "logging.handlers.RotatingFileHandler",
                    "formatter": "plain",
                    "filters": ["flood"],
                    "filename": str(file),
                    "maxBytes": MAX_FILE_BYTES,
                    "backupCount": BACKUP_FILES,
                    "encoding": "utf-8",
                    "delay": True,
                },
            },
            "root": {"level": level, "handlers": ["console", "file"]},
            "loggers": {
                "alembic": {"level": "WARNING"},
                "werkzeug": {"level": "WARNING"},
                # Its own handlers escape nothing that clients send.
                "gunicorn.error": {"handlers": [], "propagate": True},
            },
        }
    )


class Rotation(NamedTuple):
    """After how many bytes a file makes room for a new one, and how many old ones are kept."""

    size: int = MAX_FILE_BYTES
    kept: int = BACKUP_FILES


def append(file: Path, header: bytes, lines: bytes, rotation: Rotation) -> None:
    """Add whole lines to this process's `file`, all or none; each file begins with `header`.

    The kernel has them when it returns. Not for two threads at once. Raises OSError.
    """
    file = _own(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if _is_full(file, len(lines), rotation.size):
        with closing(RotatingFileHandler(file, backupCount=rotation.kept, delay=True)) as old:
            old.doRollover()
    with file.open("ab", buffering=0) as opened:
        before = opened.tell()
        left = memoryview(lines if before else header + lines)
        try:
            while left:
                left = left[opened.write(left) :]
        except OSError:
            opened.truncate(before)
            raise


def _own(file: Path) -> Path:
    """The file of this process: two processes that rotate one file lose lines."""
    return file.with_name(f"{file.stem}.{_process_name}{file.suffix}") if _process_name else file


def _is_full(file: Path, more: int, most: int) -> bool:
    """Whether there is no room, or the last line is what a killed process has left of it."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 1))
            return size > 0 and (size + more > most or opened.read(1) != b"\n")
    except FileNotFoundError:
        return False


class _Held(NamedTuple):
    """The newest line that was held back, and how many there were."""

    logger: logging.Logger
    message: str
    lines: int


class Throttle:
    """Lets one log line in so many seconds through for each key, and tells later how many it held back."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._held: dict[str, _Held] = {}
        _throttles.add(self)

    def warn(self, logger: logging.Logger, key: str, message: str) -> None:
        """Log `message` at WARNING, unless a line with the same key was logged within the time."""
        with self._lock:
            now = time.monotonic()
            held = self._held.get(key)
            count = held.lines if held else 0
            if now - self._last.get(key, -self._seconds) < self._seconds:
                self._held[key] = _Held(logger, message, count + 1)
                return
            # The newest is last, and of too many keys the oldest is forgotten.
            self._last.pop(key, None)
            self._last[key] = now
            self._held.pop(key, None)
            if len(self._last) > MAX_KEYS:
                oldest = next(iter(self._last))
                del self._last[oldest]
                self._held.pop(oldest, None)
        _warn(logger, message, count)

    def flush(self) -> None:
        """Log the newest line that was held back for each key whose time is over, and how many there were."""
        with self._lock:
            now = time.monotonic()
            due = [key for key in self._held if now - self._last[key] >= self._seconds]
            flushed = [self._held.pop(key) for key in due]
            self._last.update(dict.fromkeys(due, now))
        for held in flushed:
            _warn(held.logger, held.message, held.lines - 1)


def flush_throttles() -> None:
    """Let every throttle of this process tell what it has held back long enough; to be called every second or so."""
    for throttle in list(_throttles):
        throttle.flush()


def _warn(logger: logging.Logger, message: str, more: int) -> None:
    # The caller of `warn` is the place of the line.
    logger.warning("%s%s", message, f" (and {more} more like it)" if more else "", stacklevel=3)
