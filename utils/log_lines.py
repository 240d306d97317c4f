"""Format log records as single lines that outside input cannot forge, lengthen or flood."""

import logging
import threading
import time
import traceback
from collections.abc import Iterator

from colorlog import ColoredFormatter

from utils.text import printable

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
MAX_BYTES = 1_000
"""The limit of a message, and of an exception's message below it."""
BURST, RATE = 100, 1.0
"""Lines, and lines per second, that one line of code may log."""
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def shown(text: str) -> str:
    """Return a text for one line: unprintable characters escaped, long texts cut."""
    line = printable(text[:MAX_BYTES])
    if len(text) <= MAX_BYTES and len(line.encode()) <= MAX_BYTES:
        return line
    return f"{line.encode()[:MAX_BYTES].decode(errors='ignore')}… ({len(text)} characters)"


class OneLine(logging.Formatter):
    """Writes a record as one line, followed by a traceback in which each message is one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        safe = logging.makeLogRecord(record.__dict__)
        held: int = getattr(record, "held", 0)
        more = f" (and {held} more like it)" if held else ""
        safe.name, safe.args = shown(record.name), None
        safe.msg = f"{shown(record.getMessage())}{more}"
        error = record.exc_info[1] if record.exc_info else None
        safe.exc_info, safe.exc_text = None, "\n".join(_lines(error)) if error else None
        return super().format(safe)


class Coloured(OneLine, ColoredFormatter):
    """The same in colour."""


def _lines(error: BaseException) -> Iterator[str]:
    return _of(traceback.TracebackException.from_exception(error, compact=True))


def _of(trace: traceback.TracebackException) -> Iterator[str]:
    for before, how in ((trace.__cause__, _CAUSE), (trace.__context__, _CONTEXT)):
        if before is not None:
            yield from _of(before)
            yield how
    yield "Traceback (most recent call last):"
    yield from "".join(trace.stack.format()).splitlines()
    yield shown("".join(trace.format_exception_only()).rstrip("\n"))
    for inner in trace.exceptions or ():
        yield from (f"  | {line}" for line in _of(inner))


class Flood(logging.Filter):
    """Limits the rate of each logging statement; the next line says how many were held back."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, int], tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; every handler gets the same answer."""
        passes: bool | None = getattr(record, "passes", None)
        if passes is None:
            passes = record.passes = self._passes(record)
        return passes

    def _passes(self, record: logging.LogRecord) -> bool:
        source, now = (record.pathname, record.lineno), time.monotonic()
        with self._lock:
            allowed, counted, held = self._sources.get(source, (float(BURST), now, 0))
            allowed = min(BURST, allowed + (now - counted) * RATE)
            passes = allowed >= 1
            self._sources[source] = (allowed - passes, now, 0 if passes else held + 1)
        if passes and held:
            record.held = held
        return passes
