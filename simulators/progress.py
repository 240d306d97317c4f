"""The progress display: one line that is updated in place, on a terminal only."""

import shutil
import sys
import time
from datetime import timedelta
from typing import TextIO

from simulators.tally import Tally

_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Shows the progress of a run, updated every `renew` seconds."""

    def __init__(self, title: str, out: TextIO = sys.stdout, renew: float = 0.5) -> None:
        self._title = title
        self._out = out
        self._renew = renew
        self._live = out.isatty()
        self._begun = self._shown = time.monotonic()
        self._delivered = 0

    def show(self, tally: Tally, broker: str) -> None:
        """Update the line, if `renew` seconds have passed."""
        now = time.monotonic()
        if not self._live or now - self._shown < self._renew:
            return
        delivered = tally.acknowledged + tally.posted
        rate = (delivered - self._delivered) / (now - self._shown)
        elapsed = timedelta(seconds=int(now - self._begun))
        self._shown, self._delivered = now, delivered
        counts = (
            f"{tally.published:,} published, {tally.acknowledged:,} acknowledged, "
            f"{tally.invalid:,} invalid"
        )
        if tally.posted:
            counts += f", {tally.posted:,} posted"
        line = f"{self._title} {elapsed} {broker} {rate:,.1f}/s: {counts}"
        # A line that wraps cannot be updated in place.
        self._out.write(_CLEAR_LINE + line[: shutil.get_terminal_size().columns - 1])
        self._out.flush()

    def note(self, text: str) -> None:
        """Print a line to stderr."""
        self.clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._live:
            self._out.write(_CLEAR_LINE)
            self._out.flush()
