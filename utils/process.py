"""The name of this process, as other processes see it."""

import os
import socket


def own_name() -> str:
    """Return host and process id, at most 200 characters."""
    return f"{socket.gethostname()}:{os.getpid()}"[:200]
