"""File descriptors: each connection needs one, and a process is allowed only so many."""

import socket
import sys

_OTHERS = 50
_MOST = 65_536
_KEPT = 100
"""For files, the database and the broker, beside the connections of a server."""
_LOW = 512
_SELECTABLE = 1024


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


def allow_most() -> int:
    """Raise this process's limit as far as it may; how many connections a server can then hold."""
    if sys.platform == "win32":
        return _MOST
    import resource  # noqa: PLC0415 - Windows has none

    soft, hard = (_MOST if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    allowed = max(soft, min(hard, _MOST))
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return max(1, allowed - _KEPT)


def lifted(connection: socket.socket) -> socket.socket:
    """The same connection under a high number, where low ones run out.

    paho waits for its connection to the broker with select(), which knows no number above 1,023: where clients had
    taken all of those, a lost connection to the broker would not come back before they have left.
    """
    if sys.platform == "win32" or connection.fileno() < _LOW:
        return connection
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, _SELECTABLE)
    except OSError:
        return connection  # there are no higher ones
    with connection:
        return socket.socket(connection.family, connection.type, connection.proto, high)
