"""The connections to the broker in a thread of their own: one that messages share, and one for each last will."""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable

from broker.connection import tls_context
from broker.dialer import Dialler
from broker.loop import Loop
from config import Settings, load_settings
from publisher.line import Line, Message, Network, Outcome, Owner
from utils.logger import Throttle

ANSWER_SECONDS = 10.0
"""How long `connect` and `publish` wait for the broker."""
FAREWELL_SECONDS = 1.2
"""How long the wills are published at the end; a line that is not done by then is cut, and the broker publishes it."""
REFUSED_SECONDS = 60.0
"""How often it is told of a topic that the broker refuses what is published there."""
LONGEST_TURN = 1.0


def _idle() -> float:
    return LONGEST_TURN


class MQTTConnectionManager:
    """Connects, and connects again for ever, with backoff and jitter. Its methods may be called by any thread.

    Without `settings` to the broker that the environment names. Raises SettingsError for a bad certificate.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load_settings()
        self._context = tls_context(self.settings) if self.settings.broker.tls else None
        self._each_turn: Callable[[], float] = _idle
        self._starting = threading.Lock()
        self._prepare()

    def _prepare(self) -> None:
        """Get ready what a thread needs from its start to its end."""
        self._loop = Loop()
        lines: dict[str, Line] = {}
        throttle = Throttle(REFUSED_SECONDS)
        # Each with a dialler of its own: what is wrong with one of the others must not delay what is shared.
        self._network, self._others = (
            Network(self.settings, self._context, self._loop, Dialler(self._loop), lines, throttle) for _ in range(2)
        )
        self._errands: deque[Callable[[], None]] = deque()
        self._bell, self._rope = os.pipe()
        os.set_blocking(self._rope, False)
        self._finalizer = weakref.finalize(self, _close, self._bell, self._rope)
        self._loop.watch(self._bell, self._run_errands)
        self._answered = threading.Event()
        self._leave_until: float | None = None
        self.shared = Line(self._network, self)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the broker is away, or None."""
        return self._network.dialler.fault or self._others.dialler.fault or None

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self, each_turn: Callable[[], float] = _idle) -> None:
        """Begin to connect, and call `each_turn` in every turn, which says how many seconds the next may wait."""
        self._each_turn = each_turn
        self._thread.start()

    def connect(self) -> bool:
        """Begin to connect, and wait for the broker's answer; whether it accepted. If not, it is tried again."""
        with self._starting:
            if self._leave_until is not None and not self.alive:
                self._finalizer()
                self._prepare()
            if not self.alive:
                self.start()
        self._answered.wait(ANSWER_SECONDS)
        return self.is_connected()

    def disconnect(self) -> None:
        """Publish the wills, and end all connections; within two seconds, whatever the broker does."""
        if not self.alive:
            return
        self.hand_over(self._leave)
        self._thread.join(FAREWELL_SECONDS + 0.3)

    def is_connected(self) -> bool:
        """Whether the shared connection is open."""
        return self.shared.open

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> bool:
        """Publish on the shared connection; whether the broker has it, at QoS 0 whether it was sent.

        Raises ValueError or TypeError for a topic, QoS or payload that MQTT does not have.
        """
        if not self.alive:
            return False
        receipt = _Receipt()
        message = Message(topic, payload.encode() if isinstance(payload, str) else payload, qos, retain)

        def send() -> None:
            if not self.shared.room:
                receipt.settled(Outcome.LOST)
                return
            try:
                self.shared.publish(message, receipt)
            except (TypeError, ValueError) as error:
                # The caller's fault must not end the thread that all share.
                receipt.returned(error)

        self.hand_over(send)
        return receipt.good(ANSWER_SECONDS)

    def hand_over(self, errand: Callable[[], None]) -> None:
        """Call this once, soon, in the own thread."""
        self._errands.append(errand)
        try:
            os.write(self._rope, b"\0")
        except BlockingIOError:
            return  # it rings already

    def line(self, owner: Owner, client_ids: Iterable[str], will: Message | None) -> Line:
        """Open a further connection, with the first of the client ids that no other has; for the own thread."""
        free = (client_id for client_id in client_ids if client_id not in self._network.lines)
        return Line(self._others, owner, next(free), will)

    def answered(self) -> None:
        """Hear of the shared line."""
        self._answered.set()

    def _run(self) -> None:
        while not self._over():
            self._loop.turn(min(self._each_turn(), LONGEST_TURN) if self._leave_until is None else 0.05)
        for line in self._network.lines.values():
            line.cut()
        self._loop.close()

    def _over(self) -> bool:
        if self._leave_until is None:
            return False
        return not self._network.lines or time.monotonic() > self._leave_until

    def _leave(self) -> None:
        self._leave_until = time.monotonic() + FAREWELL_SECONDS
        for network in (self._network, self._others):
            network.dialler.stop()
        for line in list(self._network.lines.values()):
            line.leave()

    def _run_errands(self) -> None:
        os.read(self._bell, 4096)
        while self._errands:
            self._errands.popleft()()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Receipt:
    """Waits for what becomes of one message."""

    def __init__(self) -> None:
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._settled = threading.Event()

    def settled(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._settled.set()

    def returned(self, error: Exception) -> None:
        self._error = error
        self._settled.set()

    def good(self, seconds: float) -> bool:
        self._settled.wait(seconds)
        if self._error is not None:
            raise self._error
        return self._outcome in (Outcome.WRITTEN, Outcome.CONFIRMED)
