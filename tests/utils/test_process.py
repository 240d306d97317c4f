"""The process: what all its threads share."""

import subprocess
import sys

import pytest

from tests.support import PROJECT

COUNT = """
import ctypes, threading
from utils.process import share_heaps

SHARE
libc = ctypes.CDLL(None, use_errno=True)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(9)

def allocate():
    libc.malloc(1_000)
    together.wait()

for _ in range(8):
    threading.Thread(target=allocate).start()
together.wait()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def heaps(prepare: str) -> int:
    """The heaps of a new process once eight threads have taken memory."""
    program = [sys.executable, "-c", COUNT.replace("SHARE", prepare)]
    shown = subprocess.run(program, check=True, capture_output=True, cwd=PROJECT).stdout
    return shown.count(b"<heap nr=")


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has glibc")
def test_all_threads_share_two_heaps() -> None:
    assert heaps("pass") > 2
    assert heaps("share_heaps()") == 2
