"""File descriptors: every connection needs one, and a process may have a limited number."""

import socket
import sys

_OTHERS = 50
_MOST = 65_536
# Kept for files, the database and the broker, next to a server's connections.
_KEPT = 100
_LOW = 512
_SELECTABLE = 1024


def allow(connections: int) -> str | None:
    """Raise this process's limit for a number of connections; return what prevents it, or None."""
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
    """Raise this process's limit to its maximum; return the possible connections of a server."""
    if sys.platform == "win32":
        return _MOST
    import resource  # noqa: PLC0415 - Windows has none

    soft, hard = (
        _MOST if n == resource.RLIM_INFINITY else n
        for n in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    allowed = max(soft, min(hard, _MOST))
    if allowed > soft:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
    return max(1, allowed - _KEPT)


def lifted(connection: socket.socket) -> socket.socket:
    """Return the connection under a higher descriptor, if low ones run out.

    paho waits with select(), which accepts no descriptor above 1,023. If clients had taken all of
    those, a lost connection to the broker would stay lost until they leave.
    """
    if sys.platform == "win32" or connection.fileno() < _LOW:
        return connection
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, _SELECTABLE)
    except OSError:
        return connection  # no higher ones are allowed
    with connection:
        return socket.socket(connection.family, connection.type, connection.proto, high)
