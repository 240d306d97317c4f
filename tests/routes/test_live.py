"""`/api/<stream>/live`: what is committed reaches Server-Sent Events clients of a real backend at a real broker."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from routes.fields import position
from tests.api import Api, reading
from tests.connections import established
from tests.devices import DeviceClient
from tests.live import Sse, at_broker, post, serving, tracebacks
from tests.rows import execute
from tests.support import BackendProcess, Mosquitto, payload, publishing, wait_for
from wiring.backend import MAX_HELD

USED_STREAMS = ""

STATES = ("pending", "sent", "in_progress", "succeeded")


@contextlib.contextmanager
def raw(backend: BackendProcess, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Return the answer to a GET; its body is not read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=20)
    connection.request("GET", path, headers=headers)
    with connection.getresponse() as answer:
        yield answer
    connection.close()


def newest_id(backend: BackendProcess) -> int:
    with raw(backend, "/api/sensors/live") as answer:
        lines = [answer.readline() for _ in range(3)]
    return int(lines[2].decode().removeprefix("id: "))


# What arrives


def test_the_answer_is_an_event_stream_that_nobody_keeps(backend: BackendProcess) -> None:
    with raw(backend, "/api/sensors/live") as answer:
        headers = {key.lower(): value for key, value in answer.getheaders()}
    assert headers["content-type"].partition(";")[0] == "text/event-stream"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["access-control-allow-origin"] == "*"
    assert "content-length" not in headers


def test_a_published_reading_arrives_as_it_is_stored(
    backend: BackendProcess, broker: Mosquitto
) -> None:
    with Sse(backend.port, "device_id=published") as client, publishing(broker.port) as publish:
        assert client.first_line == "retry: 2000\n"
        publish("sensors/published/data", payload(temperature=21.5))
        client.await_temperature(21.5)
        (got,) = client.events
    (stored,) = backend.get("/api/sensors/history?device_id=published")[1]["data"]
    assert got.data == {"stream": "sensors", "data": stored}
    assert got.id == str(stored["id"])


def test_a_reading_that_was_sent_over_http_arrives(backend: BackendProcess) -> None:
    with Sse(backend.port, "device_id=posted") as client:
        post(backend, "posted", 1)
        client.await_temperature(1)


def test_a_duplicate_and_a_rejected_message_do_not_arrive(
    backend: BackendProcess, broker: Mosquitto
) -> None:
    with Sse(backend.port, "device_id=strict") as client, publishing(broker.port) as publish:
        for text in (payload(temperature=1), payload(temperature=1), payload(gas=None), "{"):
            publish("sensors/strict/data", text)
        client.await_temperature(1)
        publish("sensors/strict/data", payload(temperature=2, timestamp="2026-01-29T15:00:00"))
        client.await_temperature(2)
        assert client.temperatures() == [1, 2]


def test_a_command_arrives_with_each_of_its_states(
    backend: BackendProcess, broker: Mosquitto
) -> None:
    device = DeviceClient(broker.port, "control/pump/command")
    with (
        Sse(backend.port, "device_id=pump") as client,
        Sse(backend.port, "device_id=other") as other,
    ):
        status, answer = backend.post(
            "/api/control", {"device_id": "pump", "command": "start", "parameters": {"a": 1}}
        )
        assert status == 202, answer
        command = device.next_command()
        for state in ("in_progress", "succeeded"):
            device.acknowledge(command["command_id"], state, "pump", result={"ok": True})
            client.await_status(state)
        device.close()
        states = [event["status"] for event in client.of("command")]
        assert other.events == []
    assert states[-2:] == ["in_progress", "succeeded"]
    assert states == [state for state in STATES if state in states]
    final = client.of("command")[-1]
    assert final == backend.get(f"/api/control/{command['command_id']}")[1]
    assert (final["parameters"], final["result"]) == ({"a": 1}, {"ok": True})
    assert {got.id for got in client.events} == {None}


def test_presence_arrives_when_it_changes(backend: BackendProcess, broker: Mosquitto) -> None:
    with Sse(backend.port, "device_id=door") as client, publishing(broker.port) as publish:
        for count, word in enumerate(("online", "offline"), start=1):
            publish("status/door", word)
            publish("status/door", word)
            client.await_count("presence", count)
        publish("status/other", "online")
        post(backend, "door", 1)
        client.await_temperature(1)
        assert [(event["device_id"], event["online"]) for event in client.of("presence")] == [
            ("door", True),
            ("door", False),
        ]


def test_a_client_of_one_device_gets_its_readings_only(backend: BackendProcess) -> None:
    with Sse(backend.port, "device_id=mine") as client, Sse(backend.port) as everyone:
        post(backend, "theirs", 1)
        post(backend, "mine", 2)
        client.await_temperature(2)
        everyone.await_temperature(2)
        assert [item["device_id"] for item in client.of("reading")] == ["mine"]
        assert {item["device_id"] for item in everyone.of("reading")} >= {"mine", "theirs"}


def test_of_one_device_at_most_ten_readings_a_second_arrive_and_the_last(
    backend: BackendProcess, broker: Mosquitto
) -> None:
    with Sse(backend.port, "device_id=fast") as client, publishing(broker.port) as publish:
        started = time.monotonic()
        for number in range(150):
            publish(
                "sensors/fast/data",
                payload(temperature=number, timestamp=f"2026-01-29T12:00:00.{number:03}"),
            )
            time.sleep(0.01)
        client.await_temperature(149)
        most = 1 + (time.monotonic() - started) / 0.1
        found = client.temperatures()
    assert 5 < len(found) <= most
    assert all(earlier < later for earlier, later in pairwise(found))


# What was missed


def test_the_first_line_after_that_is_the_id_to_begin_at(backend: BackendProcess) -> None:
    post(backend, "first", 1)
    number = newest_id(backend)
    assert number == backend.get("/api/sensors/latest?device_id=first")[1]["data"]["id"]
    with Sse(backend.port, "device_id=first", Last_Event_ID=str(number)) as client:
        client.await_temperature(1)
        post(backend, "first", 2)
        client.await_temperature(2)
        assert client.temperatures_once() == [
            1,
            2,
        ]  # the first again: it is younger than two seconds


def test_what_was_stored_while_a_client_was_away_arrives_when_it_comes_back(
    backend: BackendProcess,
) -> None:
    with Sse(backend.port, "device_id=away") as client:
        post(backend, "away", 1)
        client.await_temperature(1)
    for number in range(2, 32):
        post(backend, "away", number)
    with Sse(backend.port, "device_id=away", Last_Event_ID=str(client.events[-1].id)) as client:
        client.await_arrival(31)
        post(backend, "away", 32)
        client.await_arrival(32)
        assert client.temperatures_once() == list(range(1, 33))
        ids = [item["id"] for item in client.of("reading")]
        assert [int(got.id or 0) for got in client.events if got.name == "reading"] == ids
        # Live, only the newest of a batch is sent; what was left out has arrived before.
        assert {got.name for got in client.events} <= {"reading", "gap"}
        for gap in client.of("gap"):
            assert set(range(gap["from_id"], gap["to_id"] + 1)) <= set(ids)


@pytest.mark.parametrize(
    "since", ["0", "-1h", "1970-01-01T00:00:00Z", "1769697045", "1769697045000", "1769697045.5"]
)
def test_since_an_id_or_a_time_what_was_stored_arrives_first(
    backend: BackendProcess, since: str
) -> None:
    device_id = f"since{since.replace(':', '')}"
    post(backend, device_id, 1)
    post(backend, device_id, 2)
    with Sse(backend.port, f"device_id={device_id}&since={since}") as client:
        client.await_temperature(2)
        assert client.temperatures_once() == [1, 2]


def test_what_was_stored_before_the_time_does_not_arrive(backend: BackendProcess) -> None:
    with Sse(backend.port, "device_id=before") as other:
        post(backend, "before", 1)
        other.await_temperature(1)  # the server sends it to those who are there when it has read it
    with Sse(backend.port, "device_id=before&since=2999-01-01") as client:
        post(backend, "before", 2)
        client.await_temperature(2)
        assert client.temperatures() == [2]


def test_the_last_event_id_outdoes_since(backend: BackendProcess) -> None:
    post(backend, "outdone", 1)
    with Sse(backend.port, "device_id=outdone&since=2999-01-01", Last_Event_ID="0") as client:
        client.await_temperature(1)


# Who asks wrongly, too often or too late


@pytest.mark.parametrize(
    ("query", "header", "name"),
    [
        ("since=yesterday", None, "since"),
        ("since=", None, "since"),
        ("since=99999999999999999999", None, "since"),
        ("since=20260230143045", None, "since"),
        ("since=1e400", None, "since"),
        ("device_id=a/b", None, "device_id"),
        ("device_id=", None, "device_id"),
        ("", "abc", "Last-Event-ID"),
        ("since=" + "9" * 21, None, "since"),
    ],
)
def test_a_bad_argument_is_named(refusing: Api, query: str, header: str | None, name: str) -> None:
    headers = {"Last-Event-ID": header} if header else {}
    with refusing.client.get(f"/api/sensors/live?{query}", headers=headers) as answer:
        assert answer.status_code == 400
        assert json.loads(answer.get_data(as_text=True))["message"].startswith(f"{name}: ")


@pytest.mark.parametrize("digits", ["9" * 9, "9" * 19, "9" * 5000])
def test_an_id_that_a_browser_saw_is_never_refused(sqlite_api: Api, digits: str) -> None:
    with sqlite_api.client.get("/api/sensors/live", headers={"Last-Event-ID": digits}) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("since", "newest", "meant"),
    [
        (None, 5, None),
        (7, 5, 7),
        (99_999_999, 5, 99_999_999),
        (1_769_697_045, 5, datetime(2026, 1, 29, 14, 30, 45)),
        (20_260_129, 1_000, datetime(2026, 1, 29)),
        (20_260_129, 30_000_000, 20_260_129),
        (20_260_230, 1_000, 20_260_230),
        (202_601_291_430, 1_000, datetime(2026, 1, 29, 14, 30)),
        (20_260_129_143_045, 1_000, datetime(2026, 1, 29, 14, 30, 45)),
        (20_260_129_143_045_123, 1_000, datetime(2026, 1, 29, 14, 30, 45, 123_000)),
        (1_712_010_112_345_678, 5, datetime(2024, 4, 1, 22, 21, 52, 345_678)),
        (1_769_697_045_123, 5, datetime(2026, 1, 29, 14, 30, 45, 123_000)),
        (1_769_697_045, 1_769_697_045, 1_769_697_045),
        (150_000_000, 2_000_000_000, 150_000_000),
        (datetime(2026, 1, 29), 5, datetime(2026, 1, 29)),
    ],
)
def test_a_number_is_an_id_where_there_are_so_many_and_otherwise_a_time(
    since: int | datetime | None, newest: int, meant: int | datetime | None
) -> None:
    assert position(since, lambda: newest) == meant


def test_a_stream_that_is_not_declared_is_not_found(sqlite_api: Api) -> None:
    assert (
        "Declared streams: anything, machines, panels, sensors, soil"
        in sqlite_api.get("/api/nothing/live", 404)["message"]
    )


def test_too_many_clients_are_told_to_come_later(sqlite_api: Api) -> None:
    with ExitStack() as held:
        clients = [
            held.enter_context(sqlite_api.client.get("/api/sensors/live")) for _ in range(MAX_HELD)
        ]
        assert {client.status_code for client in clients} == {200}
        assert "Try again later" in sqlite_api.get("/api/sensors/live", 503)["message"]
        sqlite_api.submit(reading())
        clients.pop().close()
        with sqlite_api.client.get("/api/sensors/live") as answer:
            assert answer.status_code == 200
        assert len(sqlite_api.app.extensions["autoforge"].web.hub._everyone()) == MAX_HELD - 1


def test_a_client_is_let_go_when_the_database_fails(sqlite_api: Api) -> None:
    execute(sqlite_api.app.extensions["autoforge"].database, "DROP TABLE sensor_readings")
    for query in ("", "?since=0"):
        with sqlite_api.client.get(f"/api/sensors/live{query}") as answer:
            assert (answer.status_code, answer.get_data(as_text=True)) == (200, "retry: 2000\n\n")
    assert sqlite_api.app.extensions["autoforge"].web.hub._everyone() == []


def test_clients_that_leave_are_forgotten(backend: BackendProcess) -> None:
    before = established(backend.port)
    clients = [Sse(backend.port, "device_id=leaving") for _ in range(20)]
    assert established(backend.port) >= before + 20
    for client in clients:
        client.close()
    for number in range(2):  # what is sent to someone who has left tells that he has
        post(backend, "leaving", number)
    wait_for(lambda: established(backend.port) <= before, what="the connections to end")


def test_everyone_gets_everything_also_beside_a_client_that_leaves_all_the_time(
    backend: BackendProcess,
) -> None:
    with Sse(backend.port, "device_id=steady") as client:
        for number in range(15):
            with Sse(backend.port, "device_id=steady&since=0"):
                post(backend, "steady", number)
            client.await_temperature(number)
        assert client.temperatures() == list(range(15))


@pytest.mark.process
def test_the_backend_ends_at_once_with_clients_connected(broker: Mosquitto, tmp_path: Path) -> None:
    with serving(at_broker(tmp_path / "ending", broker)) as backend, ExitStack() as held:
        clients = [held.enter_context(Sse(backend.port)) for _ in range(5)]
        started = time.monotonic()
        assert backend.stop() == 0
        assert time.monotonic() - started < 5
        assert all(client.ended.wait(5) for client in clients)
        assert tracebacks(backend) == ""
