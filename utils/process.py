"""The name of this process, as other processes see it."""

import os
import socket

MAX_PROCESS_NAME = 200


def own_name() -> str:
    """Return host and process id, at most `MAX_PROCESS_NAME` characters."""
    return f"{socket.gethostname()}:{os.getpid()}"[:MAX_PROCESS_NAME]
