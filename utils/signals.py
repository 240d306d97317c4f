"""Signals: what a handler asks for is done on a thread of its own."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable

SAME_MOMENT_SECONDS = 1.0
"""Within this time a second Ctrl-C is the first: `timeout` signals its child and then the whole group."""


def aside(action: Callable[[], None]) -> Callable[..., None]:
    """A signal handler that may be called as often as signals come: a thread then does the action, once.

    A handler interrupts its own thread anywhere, also inside an action that an earlier signal has begun. If it took
    a lock that is held there, such as that of an Event, it would wait for itself. And of signals that come faster
    than Python code handles them, each would interrupt the one before, until there is no stack left: this one is C.
    A second Ctrl-C does not wait for what the first has begun.
    """
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def wait() -> None:
        asked.get()
        begun = time.monotonic()
        threading.Thread(target=action, name="ending", daemon=True).start()
        while asked.get() != signal.SIGINT or time.monotonic() < begun + SAME_MOMENT_SECONDS:
            pass
        os._exit(128 + signal.SIGINT)

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return asked.put


def ignore() -> None:
    """Let nothing more end the process, which is about to; the interpreter gives signals their first effect back."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has no SIGHUP
            signal.signal(number, signal.SIG_IGN)
