"""The hub: it outlives whatever ends a turn, and lets its clients go so that they come back."""

import threading
from collections.abc import Callable, Iterator

import pytest

from config import Settings
from database import Database
from mqtt_notices import News, Notices
from services.changes import Changes
from services.feed import Event, Interest, Mailbox
from services.live import Hub
from streams.registry import Streams
from tests.support import wait_for


class Broken(Changes):
    """Changes with a fault that nobody thought of."""

    broken = True

    def read(self, news: News) -> list[Event]:
        if self.broken:
            self.broken = False
            raise LookupError("a fault")
        return [Event("presence", "a", {"device_id": "a"})]


@pytest.fixture
def hub(settings: Callable[..., Settings], streams: Streams) -> Iterator[Hub]:
    values = settings()
    database = Database(values.url, streams)
    database.prepare()
    made = Hub(database, streams, Notices(values, database))
    made.changes = Broken(database, streams)
    made.start()
    yield made
    made.stop()
    database.close()


def test_a_fault_lets_the_clients_go_and_the_next_ones_are_served(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: faults.append(str(arguments.exc_value)))
    first = Mailbox([Interest("sensors")])
    hub.join(first)
    wait_for(lambda: first.closed, what="the end of the first client")
    hub.leave(first)
    wait_for(lambda: faults == ["a fault"], what="the fault in the log")
    second = Mailbox([Interest("sensors")])
    hub.join(second)
    hub.hear(News(devices=["a"]))
    assert [event.device_id for event in second.take(10)] == ["a"]
