"""Signals: what a handler asks for is done on a thread of its own."""

import queue
import threading
from collections.abc import Callable


def aside(action: Callable[[], None]) -> Callable[..., None]:
    """A signal handler that may be called as often as signals come: a thread then does the action, once.

    A handler interrupts its own thread anywhere, also inside an action that an earlier signal has begun. If it took
    a lock that is held there, such as that of an Event, it would wait for itself.
    """
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        asked.get()
        action()

    threading.Thread(target=wait, name="ending", daemon=True).start()
    return lambda *_: asked.put(None)
