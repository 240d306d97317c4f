"""Start a child process whose output is read."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a program with all its output in `stdout`. Raises OSError.

    It has its own session, so that Ctrl-C reaches only the parent, which ends it in its own time.
    """
    return subprocess.Popen(  # noqa: S603 - the arguments are the callers' own
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
