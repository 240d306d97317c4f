"""Live push while the broker is away, and once it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Inbox, Io, Sse, post, serving, tracebacks
from tests.processes import gunicorn, live_process, place
from tests.support import BackendProcess, Mosquitto, payload, publishing, wait_for

pytestmark = pytest.mark.process

REST = "-c gunicorn.conf.py -w 1 -b 127.0.0.1:{port} app:app"


@pytest.fixture
def pair(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[tuple[BackendProcess, BackendProcess]]:
    """A live process, and another that answers requests and ingests; on one database."""
    environment = place(tmp_path, mosquitto)
    rest, live = (tmp_path / name for name in ("rest", "live"))
    rest.mkdir()
    with serving(gunicorn(rest, mosquitto, REST, **environment)) as other:
        wait_for(other.ready, what="a subscribed ingester")
        with serving(live_process(live, mosquitto, **environment)) as backend:
            yield backend, other
            assert not tracebacks(backend)
            assert not tracebacks(other)


def test_a_restart_of_the_broker_under_connected_clients_costs_them_no_reading(
    pair: tuple[BackendProcess, BackendProcess], mosquitto: Mosquitto
) -> None:
    live, rest = pair
    with Io(live.port) as socket_client, Sse(live.port) as here, Sse(rest.port) as there:
        socket_client.subscribe(stream="sensors")
        clients: list[Inbox] = [socket_client, here, there]
        with publishing(mosquitto.port) as publish:
            publish("sensors/board/data", payload(temperature=1))
        for client in clients:
            client.await_temperature(1, seconds=5)
        mosquitto.stop()
        for temperature in (2, 3):
            post(rest, "board", temperature)
            for client in clients:
                client.await_temperature(temperature, seconds=5)
        mosquitto.start()
        with publishing(mosquitto.port) as publish:
            publish("sensors/board/data", payload(temperature=4))
        for client in clients:
            client.await_temperature(4, seconds=15)
        wait_for(rest.ready, what="the ingester to be subscribed again")
        post(rest, "board", 5)
        for client in clients:
            client.await_temperature(5, seconds=5)
            assert client.temperatures() == [1, 2, 3, 4, 5]
        assert socket_client.client.connected
        assert not here.ended.is_set()


def test_whoever_comes_first_while_the_broker_is_away_gets_the_readings_of_other_processes(
    pair: tuple[BackendProcess, BackendProcess], mosquitto: Mosquitto
) -> None:
    live, rest = pair
    mosquitto.stop()
    wait_for(lambda: not rest.ready(), what="the ingester to see that the broker is away")
    for temperature in (1, 2):
        with Sse(live.port) as only:
            post(rest, "board", temperature)
            only.await_temperature(temperature, seconds=5)
            assert only.temperatures() == [temperature]
    with Io(live.port) as only_socket:
        only_socket.subscribe(stream="sensors")
        post(rest, "board", 3)
        only_socket.await_temperature(3, seconds=5)
    mosquitto.start()
