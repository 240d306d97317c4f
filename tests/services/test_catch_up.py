"""What a Socket.IO client missed is sent by a thread, which ends with its client."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from werkzeug.serving import make_server

from config import Settings
from database import Database
from tests.api import Api, running
from tests.live import Io
from tests.parsing import RECEIVED
from tests.support import wait_for
from utils import clock
from wiring.web import backend_of

pytestmark = [pytest.mark.long, pytest.mark.broker, pytest.mark.database]


@pytest.fixture
def served(settings: Callable[..., Settings]) -> Iterator[tuple[Api, int]]:
    """An application that is served by a thread of this process, and its port; nothing ingests."""
    with running(settings()) as api:
        api.app.extensions["autoforge"].web.hub.start()
        server = make_server("127.0.0.1", 0, api.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield api, server.server_port
        finally:
            server.shutdown()
            thread.join(10)
            server.server_close()


def catching_up() -> int:
    return sum(thread.name == "catch-up" for thread in threading.enumerate())


def fill(database: Database, count: int) -> None:
    rows = [
        ("a", RECEIVED + timedelta(milliseconds=n), None, n, 1.0, 1.0, 1.0, n) for n in range(count)
    ]
    with database.write() as connection, database.transaction(connection):
        database.write_batch(connection, database.tables["sensors"], rows, clock.now())


def test_a_catch_up_ends_when_its_client_has_gone(served: tuple[Api, int]) -> None:
    api, port = served
    backend = backend_of(api.app)
    fill(backend.database, 50_000)
    client = Io(port, "websocket")
    for _ in range(15):
        client.client.emit("subscribe", {"stream": "sensors", "device_id": "a", "since": 0})
    client.await_count("reading", 10)
    assert catching_up() == 1
    client.close()
    assert len(client.events) < 50_000
    wait_for(lambda: catching_up() == 0, seconds=10, what="the catch-up to end")
    wait_for(
        lambda: not api.app.extensions["autoforge"].web.hub._everyone(),
        what="the hub to forget the client",
    )


def test_too_many_catch_ups_of_one_client_are_refused(served: tuple[Api, int]) -> None:
    api, port = served
    fill(api.app.extensions["autoforge"].database, 50_000)
    with Io(port, "websocket") as client:
        for _ in range(40):
            client.client.emit("subscribe", {"stream": "sensors", "device_id": "a", "since": 0})
        errors = wait_for(
            lambda: [got.data for got in client.events if got.name == "error"], what="a refusal"
        )
    assert errors[0]["message"].startswith(
        "since: missed events of earlier subscriptions are still being sent"
    )
    wait_for(lambda: catching_up() == 0, seconds=10, what="the catch-up to end")
