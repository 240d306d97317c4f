"""This process: its name, as other processes see it, and how it takes memory."""

import contextlib
import ctypes
import os
import socket
import sys

MAX_PROCESS_NAME = 200
HEAPS = 2
_M_ARENA_MAX = -8
"""The parameter of mallopt(3)."""


def own_name() -> str:
    """Return host and process id, at most `MAX_PROCESS_NAME` characters."""
    return f"{socket.gethostname()}:{os.getpid()}"[:MAX_PROCESS_NAME]


def share_heaps() -> None:
    """Let all threads allocate from two heaps of the C library.

    glibc opens up to eight heaps for each processor, so that threads need not wait for each other,
    which Python's threads do anyway. What one heap has free is of no use to the others: a process
    grew by some 50 MB that nothing used.
    """
    if sys.platform == "linux":
        # The C library of Alpine has no such function.
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)
