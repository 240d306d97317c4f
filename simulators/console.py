"""A console for several programs: whole lines, above one line that renews itself."""

import shutil
import sys
import threading
from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"


class Console:
    """Its methods may be called by any thread."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty()
        """Whether it is a terminal, which has a line that renews itself."""
        self._shown = ""
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Write lines that stay."""
        self._write(f"{text}\n", self._shown)

    def show(self, text: str) -> None:
        """Renew the last line, on a terminal; an empty text takes it away."""
        if self.live:
            # A line that wraps could not be renewed.
            self._write("", text[: shutil.get_terminal_size().columns - 1])

    def _write(self, text: str, shown: str) -> None:
        with self._lock:
            clear = _CLEAR_LINE if self._shown or shown else ""
            self._shown = shown
            self._out.write(f"{clear}{text}{shown}")
            self._out.flush()
