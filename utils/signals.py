"""Handle signals on a thread of their own."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable

SAME_MOMENT_SECONDS = 1.0
"""Within this time a second Ctrl-C is ignored: `timeout` signals its child and then the group."""


def aside(action: Callable[[], None]) -> Callable[..., None]:
    """Return a reentrant signal handler; a thread then runs the action once.

    A handler interrupts its own thread anywhere, even inside an action started by an earlier
    signal. If it took a lock held there, such as that of an Event, it would deadlock. And signals
    arriving faster than Python handles them would nest until the stack overflows; this handler is C
    code.
    A second Ctrl-C does not wait for the action.
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


def ending() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set from now on."""
    ended = threading.Event()
    stop = aside(ended.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return ended


def ignore() -> None:
    """Ignore further signals while exiting; the interpreter would restore their default action."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has no SIGHUP
            signal.signal(number, signal.SIG_IGN)
