"""Live push as it is deployed: nginx, two REST workers, the live process, an ingest process, and clients on all."""

import contextlib
import http.client
import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.devices import DeviceClient
from tests.live import Inbox, Io, Sse, post, serving, tracebacks
from tests.nginx import Nginx
from tests.processes import (
    at_each_worker,
    gunicorn,
    ingest_process,
    kill,
    live_process,
    place,
    workers,
)
from tests.support import Mosquitto, payload, publishing, wait_for

pytestmark = pytest.mark.process

AWAY = (503, {"message": "AutoForge does not answer. Try again"})


class LiveSite:
    """What runs; `rest` has two workers."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder / "mosquitto")
        environment = place(folder, self.broker) | {"PROXY_COUNT": "1"}
        (folder / "rest").mkdir()
        self.rest = gunicorn(
            folder / "rest",
            self.broker,
            "-c gunicorn.conf.py -w 2 -b 127.0.0.1:{port} app:app",
            **environment,
        )
        self.live = live_process(folder / "live", self.broker, **environment)
        self.ingest = ingest_process(folder / "ingest", **environment)
        self.nginx = Nginx(folder, self.rest.port, live_port=self.live.port)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run all of it."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.broker.stop)
            self.broker.start()
            stack.enter_context(serving(self.ingest, wait=False))
            wait_for(
                lambda: "Subscribed" in self.ingest.console.read_text(), what="the ingest process"
            )
            for backend in (self.rest, self.live):
                stack.enter_context(serving(backend))
            stack.enter_context(self.nginx)
            wait_for(lambda: len(workers(self.rest)) == 2)
            yield
            for backend in (self.ingest, self.rest, self.live):
                assert not tracebacks(backend)

    def publish(self, device_id: str, temperature: float) -> None:
        """As the device does."""
        with publishing(self.broker.port) as publish:
            publish(f"sensors/{device_id}/data", payload(temperature=temperature))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    made = LiveSite(tmp_path_factory.mktemp("site"))
    with made.running():
        yield made


@contextlib.contextmanager
def everywhere(site: LiveSite, device_id: str) -> Iterator[list[Inbox]]:
    """Clients of one device at every process, through nginx and not."""
    query = f"device_id={device_id}"
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(Io(port, *transports))
            for port in (site.nginx.port, site.live.port)
            for transports in (["websocket"], ["polling"], [])
        ]
        assert [client.transport for client in sockets] == [
            "websocket",
            "polling",
            "websocket",
        ] * 2, "[] upgrades"
        for client in sockets:
            assert (
                client.subscribe(stream="sensors", device_id=device_id)["message"] == "subscribed"
            )
        streams = [
            stack.enter_context(Sse(port, query)) for port in (site.nginx.port, site.live.port)
        ]
        at_workers = stack.enter_context(at_each_worker(site.rest, query))
        assert len(at_workers) == 2
        yield [*sockets, *streams, *at_workers]


def test_a_reading_reaches_clients_at_all_processes_whichever_of_them_stores_it(
    site: LiveSite,
) -> None:
    with everywhere(site, "board-1") as clients:
        site.publish("board-1", 1)
        for client in clients:
            client.await_temperature(1)
        for temperature, backend in enumerate((site.rest, site.rest, site.live), start=2):
            post(backend, "board-1", temperature)
            for client in clients:
                client.await_temperature(temperature)
        assert [client.temperatures() for client in clients] == [[1, 2, 3, 4]] * len(clients)


def test_a_command_and_its_states_reach_clients_at_all_processes(site: LiveSite) -> None:
    device = DeviceClient(
        site.broker.port, "control/board-2/command", answers=("in_progress", "succeeded")
    )
    with contextlib.closing(device), everywhere(site, "board-2") as clients:
        status, command = site.nginx.ask(
            "/api/control", b'{"device_id": "board-2", "command": "restart"}'
        )
        assert status in (200, 202)
        wait_for(
            lambda: all(states(client)[-1:] == ["succeeded"] for client in clients),
            what="the last state",
        )
        for client in clients:
            assert {shown["command_id"] for shown in client.of("command")} == {
                command["command_id"]
            }
            # A state may come twice, with and without the time at which the broker confirmed the command.
            found = [state for state, _ in itertools.groupby(states(client))]
            known = ["pending", "sent", "in_progress", "succeeded"]
            assert found == [state for state in known if state in found], "never backwards"


def states(client: Inbox) -> list[str]:
    return [command["status"] for command in client.of("command")]


def test_presence_reaches_clients_at_all_processes(site: LiveSite) -> None:
    with everywhere(site, "board-3") as clients, publishing(site.broker.port) as publish:
        for number, word in enumerate(("online", "offline"), start=1):
            publish("status/board-3", word, retain=True)
            for client in clients:
                shown = client.await_count("presence", number)
                assert [item["online"] for item in shown] == [True, False][:number]


def test_a_client_through_nginx_begins_with_polling_and_goes_on_over_a_websocket(
    site: LiveSite,
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx.port, timeout=10)
    connection.request("GET", "/socket.io/?EIO=4&transport=polling")
    answer = connection.getresponse().read().decode()
    connection.close()
    assert '"upgrades":["websocket"]' in answer
    with Io(site.nginx.port) as client:
        assert client.transport == "websocket"
        client.subscribe(stream="sensors", device_id="board-4")
        site.publish("board-4", 1)
        client.await_temperature(1)


# The live process ends


class Publishing:
    """One reading each of board-5-0, board-5-1 … until told to end."""

    def __init__(self, port: int) -> None:
        self.published = 0
        self._port = port
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Publishing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def more(self, count: int) -> None:
        """Wait until so many more are published."""
        end = self.published + count
        wait_for(lambda: self.published >= end, what="more readings")

    def _run(self) -> None:
        with publishing(self._port) as publish:
            while not self._enough.wait(0.01):
                publish(
                    f"sensors/board-5-{self.published}/data", payload(temperature=self.published)
                )
                self.published += 1


def resuming(port: int) -> Io:
    """A client that asks for what it missed whenever it connects again, as docs/live.md says."""
    client = Io(port, reconnection=True)

    def ask() -> None:
        ids = [reading["id"] for reading in client.of("reading")]
        client.client.emit(
            "subscribe", {"stream": "sensors", "since": max(ids)} if ids else {"stream": "sensors"}
        )

    client.client.on("connect", ask)
    return client


def test_clients_miss_nothing_when_the_live_process_is_killed_and_started_again(
    site: LiveSite,
) -> None:
    with contextlib.ExitStack() as stack:
        io = [stack.enter_context(resuming(port)) for port in (site.nginx.port, site.live.port)]
        for client in io:
            assert client.subscribe(stream="sensors")["message"] == "subscribed"
        before = stack.enter_context(Sse(site.nginx.port))
        with Publishing(site.broker.port) as readings:
            for inbox in (*io, before):
                inbox.await_count("reading", 20)
            kill(site.live)
            assert before.ended.wait(10)
            assert site.nginx.ask("/socket.io/?EIO=4&transport=polling") == AWAY
            assert site.nginx.ask("/api/sensors/live") == AWAY
            assert site.nginx.ask("/api/streams")[0] == 200
            readings.more(100)
            site.live.start()
            last = [got.id for got in before.events if got.id][-1]
            after = stack.enter_context(Sse(site.nginx.port, Last_Event_ID=last))
            wait_for(
                lambda: all(client.client.connected for client in io), what="the clients to be back"
            )
            readings.more(50)
        published = {f"board-5-{number}" for number in range(readings.published)}
        assert len(published) > 170
        wait_for(lambda: all(devices(client) >= published for client in io), what="all readings")
        wait_for(lambda: devices(before) | devices(after) >= published, what="all readings")


def devices(client: Inbox) -> set[Any]:
    return {reading["device_id"] for reading in client.of("reading")}


def test_a_worker_of_the_live_process_that_is_killed_is_replaced_and_its_clients_come_back(
    site: LiveSite,
) -> None:
    with resuming(site.nginx.port) as client:
        client.subscribe(stream="sensors", device_id="board-6")
        site.publish("board-6", 1)
        client.await_temperature(1)
        (worker,) = workers(site.live)
        worker.send_signal(signal.SIGKILL)
        site.publish("board-6", 2)
        wait_for(lambda: 2 in client.temperatures("board-6"), what="what it missed")
        site.publish("board-6", 3)
        client.await_temperature(3, "board-6")
