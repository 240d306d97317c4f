"""Child programs: forward their output, watch whether they run, and end them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from simulators.console import Console
from utils import child

END_SECONDS = 15.0
"""How long a program may take to end before it is killed."""


class Children:
    """Python programs that run in a folder until the `with` block ends."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._relays: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second signal must not interrupt the end of the other programs.
        with contextlib.suppress(ValueError):  # not the main thread
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        self.end()

    def start(self, name: str, *arguments: str, prefix: str = "") -> None:
        """Start a program; each line of its output goes to the console, behind a prefix."""
        process = child.start([sys.executable, *arguments], self._folder, os.environ)
        relay = threading.Thread(
            target=self._relay,
            args=(cast("IO[str]", process.stdout), prefix),
            name=f"relay-{name}",
            daemon=True,
        )
        relay.start()
        self._running[name] = process
        self._relays.append(relay)

    def ended(self) -> str | None:
        """Return which program has ended by itself, with its exit code, or None."""
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                return f"{name} has ended with exit code {code}"
        return None

    def end(self) -> None:
        """End all programs, the first one last, and forward the rest of their output."""
        processes = list(self._running.values())
        for group in (processes[1:], processes[:1]):
            for process in group:
                process.terminate()
            for process in group:
                _wait(process)
        for relay in self._relays:
            relay.join(END_SECONDS)

    def _relay(self, output: IO[str], prefix: str) -> None:
        with output:
            for line in output:
                self._console.print(prefix + line.rstrip("\n"))


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
