"""Logging: a coloured console and a rotating file."""

import logging
import logging.config
import threading
import time
from pathlib import Path

MAX_FILE_BYTES = 10 * 1024 * 1024
BACKUP_FILES = 5
_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def configure(level: str, file: Path, process_name: str = "") -> None:
    """Send records of `level` and above to the console and to `file` (10 MB × 5).

    `process_name` goes into the file's name, because two processes that rotate one file lose lines.
    """
    if process_name:
        file = file.with_name(f"{file.stem}.{process_name}{file.suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "plain": {"format": _FORMAT},
                "coloured": {"()": "colorlog.ColoredFormatter", "format": f"%(log_color)s{_FORMAT}"},
            },
            "handlers": {
                "console": {"class": "colorlog.StreamHandler", "formatter": "coloured"},
                "file": {
                    "class": "logging.handlers.RotatingFileHandler",
                    "formatter": "plain",
                    "filename": str(file),
                    "maxBytes": MAX_FILE_BYTES,
                    "backupCount": BACKUP_FILES,
                    "encoding": "utf-8",
                    "delay": True,
                },
            },
            "root": {"level": level, "handlers": ["console", "file"]},
            "loggers": {"alembic": {"level": "WARNING"}, "werkzeug": {"level": "WARNING"}},
        }
    )


class Throttle:
    """Lets at most one log line a second through for each key, and counts what it held back."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warn(self, logger: logging.Logger, key: str, message: str) -> None:
        """Log `message` at WARNING, unless a line with the same key was logged within the second."""
        with self._lock:
            now = time.monotonic()
            if now - self._last.get(key, -self._seconds) < self._seconds:
                self._held[key] = self._held.get(key, 0) + 1
                return
            self._last[key] = now
            held = self._held.pop(key, 0)
        logger.warning("%s%s", message, f" (and {held} more like it)" if held else "")
