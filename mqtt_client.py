"""The Subscriber: receives, hands over and acknowledges messages; knows no database or stream."""

import threading
import time
from collections.abc import Callable

from broker.backoff import Backoff
from broker.message import Filters, Receiver
from broker.persistent_client import NOTHING, PersistentClient
from config import Settings

__all__ = ["NOTHING", "Subscriber"]
FIRST_RETRY, LAST_RETRY = 0.5, 10.0
"""How long to wait before a batch that could not be stored is handed over again."""
TICK_SECONDS = 1.0


class Subscriber:
    """Receives messages, hands them over in batches and acknowledges stored ones.

    One thread calls `run`, which drives paho's external event loop; only `stop` may be called
    from another.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        filters: Filters,
        receiver: Receiver,
    ) -> None:
        self._receiver = receiver
        self._stopping = threading.Event()
        self._client = PersistentClient(settings, client_id, filters, receiver, self._stopping)
        self._batch = self._client.batch
        self.state = self._client.state
        """Whether it is connected and subscribed, and if not, why."""
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._next_tick = 0.0

    def run(self) -> None:
        """Receive until `stop`, or until the receiver's `tick` is False. Raises SettingsError."""
        try:
            while not self._stopping.is_set():
                self._client.connect_if_due()
                self._wait()
                self._read()
                self._deliver()
                self._maintain()
        finally:
            self._client.close()

    def stop(self) -> None:
        """End `run` soon, after it has handed over the received messages."""
        self._stopping.set()
        self._client.wake()

    @property
    def holding(self) -> int:
        """How many received messages are not stored."""
        return len(self._batch.messages)

    def publish(self, topic: str, payload: bytes) -> Callable[[], bool]:
        """Publish at QoS 1 without waiting; the result tells whether it is acknowledged.

        Only the receiver may call this.
        """
        return self._client.publish(topic, payload)

    def _wait(self) -> None:
        if self._full():
            # The broker sends no more while nothing is read.
            self._stopping.wait(TICK_SECONDS / 10)
        else:
            self._client.wait(self._seconds_to_next_duty())

    def _seconds_to_next_duty(self) -> float:
        if self._batch.messages and self._client.session.settled and self._retry.due():
            return 0.0
        return min(TICK_SECONDS / 4, max(0.0, self._next_tick - time.monotonic()))

    def _full(self) -> bool:
        return self.state.connected and self._batch.full

    def _read(self) -> None:
        batch, state, client = self._batch, self.state, self._client.client
        batch.begin_round()
        before = -1
        while before < len(batch.messages) and batch.takes_more(connected=state.connected):
            before = len(batch.messages)
            client.loop_read()

    def _deliver(self) -> None:
        if not self._batch.messages or not self._retry.due():
            return
        if self._client.session.settled:
            self._batch.mark_copies()
        elif not self._full():
            # A full batch cannot wait: the broker's answer follows the messages under way.
            return
        if self._receiver.receive(self._batch.messages):
            self._retry.reset()
            self._client.acknowledge(self._batch.stored())
        else:
            self._retry.failed()

    def _maintain(self) -> None:
        self._client.write()
        if time.monotonic() < self._next_tick:
            return
        self._next_tick = time.monotonic() + TICK_SECONDS
        self._client.tick()
        if not self._receiver.tick():
            self._stopping.set()
