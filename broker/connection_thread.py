"""Many connections to the broker in one thread: a shared one, and one for each will."""

import threading
import time
from collections.abc import Callable, Iterable

from broker.connection import shared_context
from broker.dialer import Dialer
from broker.in_flight import Outgoing
from broker.loop import Loop
from broker.tracked_connection import ConnectionOwner, Network, TrackedConnection
from config import Settings
from utils.logger import Throttle

LEAVE_SECONDS = 1.2
"""How long publishing the wills may take at the end; after that the broker publishes them."""
REFUSED_SECONDS = 60.0
"""How often the log names a topic or a message that the broker refuses."""
LONGEST_TURN = 1.0


def _idle() -> float:
    return LONGEST_TURN


class ConnectionThread:
    """Connects, and reconnects with backoff; any thread may call its methods.

    Raises SettingsError for a bad certificate.
    """

    def __init__(self, settings: Settings) -> None:
        self._each_turn: Callable[[], float] = _idle
        self._loop = Loop()
        self._network = Network(
            settings=settings,
            context=shared_context(settings),
            loop=self._loop,
            shared_dialer=Dialer(self._loop),
            dialer=Dialer(self._loop),
            connections={},
            stale=set(),
            throttle=Throttle(REFUSED_SECONDS),
        )
        self.answered = threading.Event()
        self._leave_until: float | None = None
        self.shared = TrackedConnection(self._network, self)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the broker cannot be reached, or None."""
        network = self._network
        return network.shared_dialer.error or network.dialer.error or None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self, each_turn: Callable[[], float] = _idle) -> None:
        """Start the thread; it calls `each_turn` in every turn, which returns how long to wait."""
        self._each_turn = each_turn
        self._thread.start()

    def disconnect(self) -> None:
        """Publish the wills, and end all connections within two seconds."""
        if not self.alive:
            return
        self.call_soon(self._leave)
        self._thread.join(LEAVE_SECONDS + 0.3)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call once, in the next turn of the thread."""
        self._loop.call_soon(call)

    def own(
        self, owner: ConnectionOwner, client_ids: Iterable[str], will: Outgoing
    ) -> TrackedConnection:
        """Open a connection with the first free client id; only the thread may call this."""
        taken = self._network.connections
        free = (client_id for client_id in client_ids if client_id not in taken)
        return TrackedConnection(self._network, owner, next(free), will)

    def on_connection(self) -> None:
        """Record the broker's first answer on the shared connection."""
        self.answered.set()

    def _run(self) -> None:
        while self._leave_until is None:
            self._loop.turn(min(self._each_turn(), LONGEST_TURN))
        while self._network.connections and time.monotonic() < self._leave_until:
            self._loop.turn(0.05)
        for connection in self._network.connections.values():
            connection.cut()
        self._loop.close()

    def _leave(self) -> None:
        self._leave_until = time.monotonic() + LEAVE_SECONDS
        self._network.shared_dialer.stop()
        self._network.dialer.stop()
        for connection in list(self._network.connections.values()):
            connection.leave()
