"""A console for several programs: whole lines, above one line that is updated in place."""

import shutil
import sys
import threading
from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"


class Console:
    """A terminal or a file; any thread may call its methods."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty()
        """Whether it is a terminal, which shows the updated line."""
        self._shown = ""
        self._lock = threading.Lock()

    def print(self, text: str) -> None:
        """Print permanent lines."""
        self._write(f"{text}\n", self._shown)

    def show(self, text: str) -> None:
        """Update the last line, on a terminal; an empty text removes it."""
        if self.live:
            # A line that wraps cannot be updated in place.
            self._write("", text[: shutil.get_terminal_size().columns - 1])

    def _write(self, text: str, shown: str) -> None:
        with self._lock:
            clear = _CLEAR_LINE if self._shown or shown else ""
            self._shown = shown
            self._out.write(f"{clear}{text}{shown}")
            self._out.flush()
