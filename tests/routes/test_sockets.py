"""Socket.IO: what a client subscribes to is what it gets, over each transport."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import app as autoforge
from config import Settings
from services.sockets import MAX_INTERESTS
from tests.api import Api, running
from tests.devices import DeviceClient
from tests.live import Io, at_broker, post, serving, tracebacks
from tests.support import BackendProcess, Mosquitto, payload, publishing, wait_for

TRANSPORTS = ["websocket", "polling"]


@pytest.fixture
def client(backend: BackendProcess) -> Iterator[Io]:
    with Io(backend.port) as connected:
        yield connected


@pytest.fixture
def make_api(settings: Callable[..., Settings]) -> Iterator[Callable[..., Api]]:
    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(running(settings(**values)))


# What arrives


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_published_reading_arrives_as_it_is_stored(
    backend: BackendProcess, broker: Mosquitto, transport: str
) -> None:
    with Io(backend.port, transport) as client, publishing(broker.port) as publish:
        assert client.transport == transport
        assert client.subscribe(stream="sensors", device_id=transport) == {
            "message": "subscribed",
            "stream": "sensors",
            "device_id": transport,
        }
        publish(f"sensors/{transport}/data", payload(temperature=21.5))
        client.await_temperature(21.5)
        assert client.transport == transport
        (got,) = client.events
    (stored,) = backend.get(f"/api/sensors/history?device_id={transport}")[1]["data"]
    assert got.data == {"stream": "sensors", "data": stored}


def test_a_client_that_begins_with_polling_goes_on_with_a_websocket(
    backend: BackendProcess, client: Io
) -> None:
    client.subscribe(stream="sensors", device_id="upgraded")
    assert client.transport == "websocket"
    post(backend, "upgraded", 1)
    client.await_temperature(1)


def test_a_client_gets_nothing_before_it_subscribes(backend: BackendProcess, client: Io) -> None:
    post(backend, "early", 1)
    client.subscribe(stream="sensors", device_id="early")
    time.sleep(0.2)
    post(backend, "early", 2)
    client.await_temperature(2)
    assert client.temperatures() in ([2], [1, 2])
    with Io(backend.port) as silent:
        silent.subscribe(stream="sensors", device_id="another")
        post(backend, "early", 3)
        client.await_temperature(3)
        assert silent.events == []


def test_a_client_of_all_devices_gets_each(backend: BackendProcess, client: Io) -> None:
    assert client.subscribe(stream="sensors") == {
        "message": "subscribed",
        "stream": "sensors",
        "device_id": None,
    }
    post(backend, "one", 1)
    post(backend, "two", 2)
    client.await_temperature(1, "one")
    client.await_temperature(2, "two")


def test_a_client_may_subscribe_to_several_devices_and_gets_nothing_twice(
    backend: BackendProcess, client: Io
) -> None:
    for device_id in ("left", "right", "left"):
        client.subscribe(stream="sensors", device_id=device_id)
    client.subscribe(stream="sensors", device_id="right", since="2999-01-01")
    for number in (1, 2):
        for device_id in ("middle", "left", "right"):
            post(backend, device_id, number)
        client.await_temperature(number, "right")
        client.await_temperature(number, "left")
    assert sorted((item["device_id"], item["temperature"]) for item in client.of("reading")) == [
        ("left", 1),
        ("left", 2),
        ("right", 1),
        ("right", 2),
    ]


def test_commands_and_presence_arrive(
    backend: BackendProcess, broker: Mosquitto, client: Io
) -> None:
    device = DeviceClient(broker.port, "control/valve/command")
    client.subscribe(stream="sensors", device_id="valve")
    _, answer = backend.post("/api/control", {"device_id": "valve", "command": "open"})
    device.next()
    device.acknowledge(answer["command_id"], "succeeded", "valve")
    device.publish("status/valve", "online")
    client.await_status("succeeded")
    assert client.of("command")[-1] == backend.get(f"/api/control/{answer['command_id']}")[1]
    (said,) = client.await_count("presence", 1)
    assert (said["device_id"], said["online"]) == ("valve", True)
    device.close()


def test_after_unsubscribe_nothing_arrives(backend: BackendProcess, client: Io) -> None:
    for device_id in ("gone", "stays"):
        client.subscribe(stream="sensors", device_id=device_id)
    assert client.unsubscribe(stream="sensors", device_id="gone")["message"] == "unsubscribed"
    assert client.unsubscribe(stream="sensors", device_id="never")["message"] == "unsubscribed"
    post(backend, "gone", 1)
    post(backend, "stays", 2)
    client.await_temperature(2)
    assert client.temperatures("gone") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_of_one_device_at_most_ten_readings_a_second_arrive_and_the_last(
    backend: BackendProcess, broker: Mosquitto, transport: str
) -> None:
    with Io(backend.port, transport) as client, publishing(broker.port) as publish:
        client.subscribe(stream="sensors", device_id=f"fast-{transport}")
        started = time.monotonic()
        for number in range(100):
            text = payload(temperature=number, timestamp=f"2026-01-29T12:00:00.{number:03}")
            publish(f"sensors/fast-{transport}/data", text)
            time.sleep(0.01)
        client.await_temperature(99)
        most = 1 + (time.monotonic() - started) / 0.1
        found = client.temperatures()
    assert 5 < len(found) <= most
    assert all(earlier < later for earlier, later in pairwise(found))


# What was missed


@pytest.mark.parametrize(
    "since", [0, "0", "-1h", "1970-01-01T00:00:00Z", 1769697045, "1769697045000"]
)
def test_since_an_id_or_a_time_everything_stored_arrives_in_order_and_then_the_live(
    backend: BackendProcess, client: Io, since: int | str
) -> None:
    device_id = f"since-{since!r}".replace(":", "")
    for number in range(60):
        post(backend, device_id, number)
    assert "error" not in client.subscribe(stream="sensors", device_id=device_id, since=since)
    post(backend, device_id, 60)
    client.await_temperature(60)
    assert client.temperatures_once() == [*range(61)]


def test_a_client_that_reconnects_asks_since_its_last_id_and_misses_nothing(
    backend: BackendProcess,
) -> None:
    with Io(backend.port) as client:
        client.subscribe(stream="sensors", device_id="back")
        post(backend, "back", 0)
        (last,) = client.await_count("reading", 1)
    for number in range(1, 30):
        post(backend, "back", number)
    with Io(backend.port) as client:
        client.subscribe(stream="sensors", device_id="back", since=last["id"])
        client.await_temperature(29)
        assert client.temperatures_once() == list(range(30))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "The argument of subscribe "),
        ([None], "The argument of subscribe "),
        (["sensors"], "The argument of subscribe "),
        ([5], "The argument of subscribe "),
        ([[]], "The argument of subscribe "),
        ([{}], "stream: "),
        ([{"stream": 7}], "stream: "),
        (
            [{"stream": "sol"}],
            "stream: there is no stream 'sol'. Declared streams: anything, machines, panels, sensors, soil",
        ),
        ([{"stream": "x" * 1000}], "stream: there is no stream '"),
        (
            [{"stream": "sensors", "device_id": "a/b"}],
            "device_id: the device id must not contain + # or /",
        ),
        ([{"stream": "sensors", "device_id": ""}], "device_id: "),
        ([{"stream": "sensors", "device_id": 7.5}], "device_id: "),
        ([{"stream": "sensors", "device": "a"}], "device: "),
        ([{"stream": "sensors", "since": "yesterday"}], "since: not a time"),
        ([{"stream": "sensors", "since": True}], "since: expected the id of a reading, or a time"),
        ([{"stream": "sensors", "since": 1.5}], "since: expected the id of a reading, or a time"),
        ([{"stream": "sensors", "since": []}], "since: expected the id of a reading, or a time"),
        ([{"stream": "sensors", "since": 10**90}], "since: "),
    ],
)
def test_a_bad_subscription_is_answered_and_said_as_an_event(
    client: Io, arguments: list[Any], sentence: str
) -> None:
    for name in ("subscribe", "unsubscribe"):
        answer = client.client.call(name, tuple(arguments), timeout=10)
        assert list(answer) == ["error"]
        assert answer["error"].startswith(sentence)
        client.await_count("error", 1)
        assert [got.data for got in client.events if got.name == "error"] == [
            {"message": answer["error"]}
        ]
        assert len(answer["error"]) < 300
        client.events.clear()


def test_too_many_subscriptions_are_refused_and_the_others_work_on(
    backend: BackendProcess, client: Io
) -> None:
    for number in range(MAX_INTERESTS):
        client.client.emit("subscribe", {"stream": "sensors", "device_id": f"d{number}"})
    answer = client.subscribe(stream="sensors", device_id="one more")
    assert answer["error"].startswith("at most 1000 subscriptions")
    post(backend, "one more", 1)
    post(backend, "d999", 2)
    client.await_temperature(2)
    client.unsubscribe(stream="sensors", device_id="d0")
    assert "error" not in client.subscribe(stream="sensors", device_id="one more")


# Where it is, and who may use it


def origin(api: Api, name: str) -> tuple[int, dict[str, str]]:
    query = {"EIO": "4", "transport": "polling"}
    answer = api.client.get("/socket.io/", query_string=query, headers={"Origin": name})
    return answer.status_code, {key.lower(): value for key, value in answer.headers.items()}


@pytest.mark.database
def test_only_pages_of_the_allowed_origins_may_connect(make_api: Callable[..., Api]) -> None:
    api = make_api(cors_origins="https://good.example,https://too.example")
    for name in ("https://good.example", "https://too.example"):
        status, headers = origin(api, name)
        assert (status, headers["access-control-allow-origin"]) == (200, name)
        assert "access-control-allow-credentials" not in headers
    status, headers = origin(api, "https://evil.example")
    assert status == 400
    assert "access-control-allow-origin" not in headers


@pytest.mark.database
def test_every_page_may_connect_by_default(make_api: Callable[..., Api]) -> None:
    status, headers = origin(make_api(), "https://any.example")
    assert (status, headers["access-control-allow-origin"]) == (200, "https://any.example")


def test_a_process_without_it_says_where_it_is(settings: Callable[..., Settings]) -> None:
    made = autoforge.create_app(settings(), "rest")
    answer = made.test_client().get("/socket.io/?EIO=4&transport=polling")
    assert answer.status_code == 404
    assert answer.get_json() == {
        "message": "Socket.IO is served by a process of its own, `app:live`; nginx has to send /socket.io/ there"
    }
    made.extensions["autoforge"].stop()


@pytest.mark.process
def test_the_backend_ends_at_once_with_clients_connected(broker: Mosquitto, tmp_path: Path) -> None:
    with serving(at_broker(tmp_path / "ending", broker)) as backend, ExitStack() as held:
        clients = [held.enter_context(Io(backend.port, transport)) for transport in TRANSPORTS * 2]
        for client in clients:
            client.subscribe(stream="sensors", since=0)
        started = time.monotonic()
        assert backend.stop() == 0
        assert time.monotonic() - started < 5
        wait_for(
            lambda: not any(client.client.connected for client in clients),
            what="the clients to notice",
        )
        assert tracebacks(backend) == ""
