"""This process, as the others know it."""

import os
import socket


def own_name() -> str:
    """Host and process id, at most 200 characters."""
    return f"{socket.gethostname()}:{os.getpid()}"[:200]
