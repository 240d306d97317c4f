"""File descriptors: each board's connection needs one, and a process is allowed only so many."""

import sys

from simulators.client import BrokerError

_OTHERS = 50


def allow(connections: int) -> None:
    """Raise this process's limit to what so many connections need. Raises BrokerError where that is not allowed."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Windows has none

    needed = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BrokerError(f"--devices {connections}: needs {needed} open files, and this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
