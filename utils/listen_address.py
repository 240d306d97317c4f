"""The address on which a server listens, as a setting names it."""

import re
import socket

_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?")


def checked(host: str) -> str:
    """Return a host without brackets. Raises ValueError."""
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _HOST.fullmatch(plain):
        raise ValueError("must be an address such as 127.0.0.1 or ::1, without a port")
    return plain


def check_own(host: str) -> None:
    """Raise ValueError unless a server can listen there, whichever port it takes."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all: {reason}"
        ) from error
