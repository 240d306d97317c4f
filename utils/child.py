"""A program that this one starts, and whose lines it reads."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start one, whose `stdout` has all that it says. Raises OSError.

    It is in a session of its own, so that Ctrl-C reaches the parent alone, which ends it when its turn has come.
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
