"""How many connections each worker of gunicorn holds, so that they are shared evenly."""

import mmap

_WORKERS = 256
_ABSENT = 2**31 - 1


class Shares:
    """A count for each worker, in memory that all see if it was made before they were forked.

    Otherwise connections that come together all go to the one worker that is awake.
    """

    def __init__(self) -> None:
        self._held = memoryview(mmap.mmap(-1, 4 * _WORKERS)).cast("i")
        for number in range(_WORKERS):
            self.leave(number)

    def set(self, worker: int, connections: int) -> None:
        """Record how many a worker has."""
        self._held[worker % _WORKERS] = connections

    def leave(self, worker: int) -> None:
        """Record that a worker takes no more."""
        self.set(worker, _ABSENT)

    def least(self) -> int:
        """What the worker with the fewest has."""
        return min(self._held)
