"""The hub: it outlives whatever ends a turn, and lets its clients go so that they come back."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from broker.notifier import ChangeSet, Notifier
from config import Settings
from database import Database
from services.changes import ChangeReader
from services.feed import Event, Interest, Mailbox
from services.live import Hub
from streams.registry import Streams
from tests.support import wait_for
from wiring.backend import notices_topic


class Broken(ChangeReader):
    """Changes with a fault that nobody thought of."""

    broken = True

    def read(self, news: ChangeSet) -> list[Event]:
        if self.broken:
            self.broken = False
            raise LookupError("a fault")
        return [Event("presence", "a", {"device_id": "a"})]


class SlowChanges(ChangeReader):
    """Changes that take their time to be read, once."""

    def __init__(self, database: Database, streams: Streams) -> None:
        super().__init__(database, streams)
        self.reading, self.done = threading.Event(), threading.Event()

    def read(self, news: ChangeSet) -> list[Event]:
        if self.done.is_set():
            return []
        self.reading.set()
        assert self.done.wait(10)
        return [Event("presence", "a", {"device_id": "a"})]


@pytest.fixture
def started(
    settings: Callable[..., Settings], sqlite: Database
) -> Iterator[Callable[[ChangeReader], Hub]]:
    """Starts a hub that reads these changes."""
    with contextlib.ExitStack() as running:

        def start(changes: ChangeReader) -> Hub:
            hub = Hub(changes, Notifier(settings(), partial(notices_topic, sqlite)))
            hub.start()
            running.callback(hub.stop)
            return hub

        yield start


def test_who_joins_while_news_are_read_gets_them(
    started: Callable[[ChangeReader], Hub], sqlite: Database, streams: Streams
) -> None:
    # They may have been committed after it has read what it missed.
    changes = SlowChanges(sqlite, streams)
    hub = started(changes)
    first, second = Mailbox([Interest("sensors")]), Mailbox([Interest("sensors")])
    hub.join(first)
    hub.on_change(ChangeSet(devices=["a"]))
    assert changes.reading.wait(10)
    hub.join(second)
    changes.done.set()
    assert [[event.device_id for event in client.take(10)] for client in (first, second)] == [
        ["a"],
        ["a"],
    ]


def test_a_fault_lets_the_clients_go_and_the_next_ones_are_served(
    started: Callable[[ChangeReader], Hub],
    sqlite: Database,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = started(Broken(sqlite, streams))
    faults: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda arguments: faults.append(str(arguments.exc_value))
    )
    first = Mailbox([Interest("sensors")])
    hub.join(first)
    wait_for(lambda: first.closed, what="the end of the first client")
    hub.leave(first)
    wait_for(lambda: faults == ["a fault"], what="the fault in the log")
    second = Mailbox([Interest("sensors")])
    hub.join(second)
    hub.on_change(ChangeSet(devices=["a"]))
    assert [event.device_id for event in second.take(10)] == ["a"]
