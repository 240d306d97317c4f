"""File descriptors: each connection needs one, and a process is allowed only so many."""

import errno
import os
import sys

_OTHERS = 50
_SPARE = 20


def allow(connections: int) -> str | None:
    """Raise this process's limit to what so many connections need; what is in the way, or None."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows has none

    needed = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    enough = hard == resource.RLIM_INFINITY or hard >= needed
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if enough else hard, hard))
    return None if enough else f"needs {needed} open files, and this machine allows {hard}"


def demand_spare(kept: int = 0) -> None:
    """Raise OSError if a further connection would leave too few for files, and for as many that come first."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415

    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and lowest + _SPARE + kept >= limit:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
