"""File descriptors: each connection needs one, and a process is allowed only so many."""

import sys

_OTHERS = 50


def allow(connections: int) -> str | None:
    """Raise this process's limit to what so many connections need; what is in the way, or None."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows has none

    needed = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    if hard != resource.RLIM_INFINITY and hard < needed:
        return f"needs {needed} open files, and this machine allows {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return None
