"""This process, as the others know it."""

import os
import socket

MAX_PROCESS_NAME = 200


def own_name() -> str:
    """Host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"[:MAX_PROCESS_NAME]
