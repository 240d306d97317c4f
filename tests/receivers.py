"""A receiver for the tests of the subscriber, and subscribers that hand over to it."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

from broker.message import Filters, Message
from config import Settings
from mqtt_client import Subscriber
from tests.support import wait_for


class RecordingReceiver:
    """A receiver that keeps what it gets, and can be told not to take anything for now."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusals = 0
        self.open = threading.Event()
        self.open.set()
        self.connectable = True
        self.asked = 0
        self.present: list[bool] = []
        self.subscriptions = 0
        self.evictions = 0

    def receive(self, messages: Sequence[Message]) -> bool:
        if not self.open.is_set():
            self.refusals += 1
            return False
        self.messages += messages
        return True

    def may_connect(self) -> bool:
        self.asked += 1
        return self.connectable

    def tick(self) -> bool:
        return True

    def connected(self, *, session_present: bool) -> None:
        self.present.append(session_present)

    def subscribed(self) -> None:
        self.subscriptions += 1

    def evicted(self) -> None:
        self.evictions += 1

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]


@contextlib.contextmanager
def running(
    settings: Settings, store: RecordingReceiver, filters: Filters | None = None
) -> Iterator[Subscriber]:
    """A subscriber in a thread."""
    subscriber = Subscriber(settings, "test-ingest", filters or Filters(["t/#"]), store)
    thread = threading.Thread(target=subscriber.run, daemon=True)
    thread.start()
    try:
        yield subscriber
    finally:
        subscriber.stop()
        thread.join(20)
    assert not thread.is_alive()


@contextlib.contextmanager
def subscribed(settings: Settings, store: RecordingReceiver) -> Iterator[Subscriber]:
    """A subscriber in a thread, subscribed."""
    with running(settings, store) as subscriber:
        wait_for(lambda: subscriber.state.subscribed, what="the subscription")
        yield subscriber
