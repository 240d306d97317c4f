"""Post readings to the backend while the broker is away, until the backend has them."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from broker.backoff import Backoff
from simulators.backend import Away, BackendClient, BackendResponse
from simulators.device import SimulatedMessage
from simulators.tally import Tally

MOST_AT_ONCE = 1000
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 5.0
_TAKEN, _PARTLY_TAKEN, _BAD_REQUEST, _SERVER_ERROR = 201, 207, 400, 500


class Fallback:
    """Posts readings in a thread of its own, in order for each path."""

    def __init__(self, backend: BackendClient, tally: Tally, note: Callable[[str], None]) -> None:
        self._backend = backend
        self.active = False
        """Whether offline boards post their readings."""
        self._tally = tally
        self._note = note
        self._noted = ""
        self._queues: dict[str, deque[SimulatedMessage]] = {}
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, readings: Iterable[SimulatedMessage]) -> None:
        """Queue readings; a request is repeated until the backend answers."""
        with self._changed:
            for reading in readings:
                self._queues.setdefault(reading.path, deque()).append(reading)
            self._changed.notify()
        if self._thread is None and self._queues:
            # A daemon: a backend that does not answer must not keep the simulator running.
            self._thread = threading.Thread(target=self._run, name="fallback", daemon=True)
            self._thread.start()

    def hurry(self) -> None:
        """Retry at the shortest interval from now on, because the run ends soon."""
        self._hurry.set()

    def _run(self) -> None:
        while True:
            self._post(self._next())

    def _next(self) -> list[SimulatedMessage]:
        """Return the readings of one request, for the path that has waited longest."""
        with self._changed:
            self._changed.wait_for(lambda: self._queues)
            path = next(iter(self._queues))
            queue = self._queues.pop(path)
            batch = [queue.popleft()]
            # A broken reading may not be JSON, and would break the array.
            while (
                queue and len(batch) < MOST_AT_ONCE and not (batch[0].invalid or queue[0].invalid)
            ):
                batch.append(queue.popleft())
            if queue:
                self._queues[path] = queue
            return batch

    def _post(self, batch: list[SimulatedMessage]) -> None:
        body = (
            batch[0].payload
            if batch[0].invalid
            else b"[" + b",".join(reading.payload for reading in batch) + b"]"
        )
        answer = self._answer(batch[0].path, body)
        # The rejection of a reading that is broken on purpose is expected.
        wanted = batch[0].invalid and answer.status == _BAD_REQUEST
        refused = 0 if wanted else _refused(answer, len(batch))
        self._tally.posted += len(batch) - refused
        self._tally.turned_down += refused
        if not refused:
            self._noted = ""
            return
        self._note_once(
            f"the backend at {self._backend.url} refuses readings: "
            f"{answer.status} {_message(answer.text)}"
        )

    def _answer(self, path: str, body: bytes) -> BackendResponse:
        """Repeat a request until it is answered; the backend detects duplicates by its bytes."""
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        while True:
            try:
                answer = self._backend.post(path, body)
                if answer.status < _SERVER_ERROR:
                    return answer
                fault = f"{answer.status} {_message(answer.text)}"
            except Away as error:
                fault = str(error)
            self._note_once(f"the backend at {self._backend.url} is away ({fault}), trying again")
            if self._hurry.wait(backoff.failed()):
                time.sleep(_FIRST_DELAY)

    def _note_once(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            self._note(text)


def _refused(answer: BackendResponse, count: int) -> int:
    """Return how many readings the backend refused for good."""
    if answer.status == _TAKEN:
        return 0
    try:
        rejected = json.loads(answer.text)["rejected"] if answer.status == _PARTLY_TAKEN else count
    except (ValueError, LookupError, TypeError):
        return count
    return min(max(rejected, 0), count) if isinstance(rejected, int) else count


def _message(text: str) -> str:
    try:
        answer = json.loads(text)
        return str(answer["message"] if "message" in answer else answer["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return text[:100]
