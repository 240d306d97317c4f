"""`GET /api/control`: what became of commands; and the header that makes a repeated request harmless."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from iotcore import Broker
from sqlalchemy import select, update
from werkzeug.test import TestResponse

import queries.commands
from broker.message import Message
from config import Settings
from models import Command
from streams.registry import Streams
from tests.api import Api, running
from tests.devices import DeviceClient
from tests.pipelines import new_pipeline
from tests.support import free_port
from utils import clock

COMMAND = {"device_id": "ESP32_001", "command": "restart", "parameters": {"delay_seconds": 5}}
KEYS = {
    "command_id", "device_id", "command", "parameters", "status", "reason", "result",
    "issued_at", "expires_at", "sent_at", "updated_at", "url",
}  # fmt: skip
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def api(settings: Callable[..., Settings], fast_broker: int, database_url: str) -> Iterator[Api]:
    """The API with a broker, over an empty database of each kind in turn."""
    place = {"mqtt_broker": "127.0.0.1", "mqtt_port": fast_broker}
    with running(settings(database_url=database_url, **place)) as api:
        yield api


sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def keyed(api: Api, key: str, **changes: Any) -> TestResponse:
    """The answer to a command with an idempotency key."""
    return api.app.test_client().post(
        "/api/control", json=COMMAND | changes, headers={"Idempotency-Key": key}
    )


def say(
    api: Api, streams: Streams, *said: dict[str, Any] | str, device_id: str = "ESP32_001"
) -> None:
    """What the ingest makes of acknowledgements."""
    database = api.app.extensions["autoforge"].database
    texts = [item if isinstance(item, str) else json.dumps(item) for item in said]
    batch = [Message(f"control/{device_id}/ack", text.encode(), clock.now()) for text in texts]
    with database.write() as connection:
        new_pipeline(database, streams).handle(connection, batch)


def put(api: Api, *command_ids: str, seconds: float = 60, **changes: Any) -> None:
    """Commands without a broker, which expire so many seconds from now."""
    now = clock.now()
    whole = {
        "device_id": "a",
        "command": "x",
        "parameters": "{}",
        "status": "sent",
        "issued_at": now,
    }
    whole |= {"expires_at": now + timedelta(seconds=seconds), "updated_at": now} | changes
    database = api.app.extensions["autoforge"].database
    with database.write() as connection, database.transaction(connection):
        for command_id in command_ids:
            queries.commands.create(connection, whole | {"command_id": command_id})


# What became of it


@pytest.mark.process
def test_a_command_is_told_with_all_it_has(api: Api, streams: Streams) -> None:
    url = api.post("/api/control", COMMAND, expect=202)["url"]
    sent = api.get(url)
    assert sent.keys() == KEYS
    assert all(
        RFC_3339.fullmatch(sent[name])
        for name in ("issued_at", "expires_at", "sent_at", "updated_at")
    )
    assert {key: sent[key] for key in COMMAND} == COMMAND
    assert (sent["status"], sent["reason"], sent["result"]) == ("sent", None, None)
    say(api, streams, {"command_id": sent["command_id"], "status": "in_progress", "reason": "10 %"})
    assert (api.get(url)["status"], api.get(url)["reason"]) == ("in_progress", "10 %")
    say(
        api,
        streams,
        {"command_id": sent["command_id"], "status": "succeeded", "result": {"ü": [1, None]}},
    )
    done = api.get(url)
    assert (done["status"], done["reason"], done["result"]) == ("succeeded", None, {"ü": [1, None]})
    assert done | {"status": 0, "result": 0, "updated_at": 0} == sent | {
        "status": 0,
        "result": 0,
        "updated_at": 0,
    }


@pytest.mark.process
@sqlite
@pytest.mark.parametrize("result", [False, 0, "", [], {}, 10**30, "🌡️", -0.5])
def test_a_result_is_told_as_the_device_said_it(api: Api, streams: Streams, result: Any) -> None:
    put(api, "c")
    say(api, streams, {"command_id": "c", "status": "succeeded", "result": result}, device_id="a")
    answer = api.get("/api/control/c")
    assert (answer["status"], answer["result"]) == ("succeeded", result)


@pytest.mark.process
@sqlite
def test_a_deeply_nested_result_takes_no_answer_away(api: Api, streams: Streams) -> None:
    for depth in (100, 500, *range(800, 1000, 5)):
        put(api, f"c{depth}")
        nested = (
            f'{{"command_id":"c{depth}","status":"succeeded","result":{"[" * depth}{"]" * depth}}}'
        )
        say(api, streams, nested, device_id="a")
        answer = api.get(f"/api/control/c{depth}")
        assert answer["status"] in ("succeeded", "sent")
    assert api.get("/api/control")["count"] == 42


@pytest.mark.process
def test_what_nobody_acknowledged_is_expired_though_nothing_ingests(api: Api) -> None:
    put(api, "a", "b", seconds=-1)
    put(api, "c")
    expired = api.get("/api/control/a")
    assert (expired["status"], expired["reason"]) == (
        "expired",
        "the device had not finished it in time",
    )
    assert [item["command_id"] for item in api.get("/api/control", status="expired")["data"]] == [
        "b",
        "a",
    ]
    assert [item["command_id"] for item in api.get("/api/control", status="sent")["data"]] == ["c"]


@pytest.mark.process
def test_commands_are_listed_newest_first_by_device_and_status(api: Api) -> None:
    assert api.get("/api/control") == {"count": 0, "limit": 100, "data": []}
    put(api, "1", "2", "3", device_id="a")
    put(api, "4", device_id="A", status="failed")
    put(api, "5", device_id="a", status="failed")

    def listed(**query: Any) -> list[str]:
        answer = api.get("/api/control", **query)
        assert answer["count"] == len(answer["data"])
        assert all(item.keys() == KEYS for item in answer["data"])
        return [item["command_id"] for item in answer["data"]]

    assert listed() == ["5", "4", "3", "2", "1"]
    assert listed(limit=2) == ["5", "4"]
    assert listed(device_id="a") == ["5", "3", "2", "1"]
    assert listed(device_id="A") == listed(device_id="A", status="failed") == ["4"]
    assert listed(status="failed") == ["5", "4"]
    assert listed(device_id="a", status="sent", limit=1) == ["3"]
    assert listed(device_id="nobody") == listed(status="rejected") == []


@pytest.mark.process
@sqlite
def test_commands_are_listed_by_the_hundred_unless_told_otherwise(api: Api) -> None:
    put(api, *[f"c{number}" for number in range(150)])
    assert (api.get("/api/control")["count"], api.get("/api/control", limit=1000)["count"]) == (
        100,
        150,
    )


@pytest.mark.process
@sqlite
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("limit", [0, -1, 1001, "all", "", 1.5]),
        ("status", ["done", "Sent", "", "sent,failed"]),
        ("device_id", ["a+b", "a/b", "", "a\0b", "a" * 129]),
    ],
)
def test_what_cannot_be_asked_for_is_400_and_named(api: Api, name: str, values: list[Any]) -> None:
    for value in values:
        assert api.get("/api/control", expect=400, **{name: value})["message"].startswith(
            f"{name}: "
        ), value


@pytest.mark.process
def test_a_command_that_does_not_exist_is_404_or_400(api: Api) -> None:
    for command_id in (
        "none",
        "a b",
        "%F0%9F%8C%A1",
        "'--",
        "%ED%A0%80",
        "{}",
        "%0A",
        "%00",
        "a%00b",
    ):
        answer = api.client.get(f"/api/control/{command_id}")
        assert answer.status_code in (404, 400), command_id
        assert "command" in answer.get_json()["message"]
    assert api.get("/api/control/" + "x" * 37, expect=400)["message"].startswith("command_id: ")


# Idempotency-Key


@pytest.mark.process
def test_the_same_key_gives_the_same_command_and_publishes_once(
    api: Api, device: DeviceClient
) -> None:
    first, again = keyed(api, "k-1"), keyed(api, "k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert (first.get_json()["status"], again.get_json()["status"]) == ("acknowledged", "sent")
    assert first.get_json()["command_id"] == again.get_json()["command_id"]
    others = [
        keyed(api, "K-1"),
        keyed(api, "k-1 ".strip() + "1"),
        api.client.post("/api/control", json=COMMAND),
    ]
    expected = [answer.get_json()["command_id"] for answer in (first, *others)]
    assert [device.next_command()["command_id"] for _ in range(4)] == expected
    assert device.messages.empty()
    assert len(set(expected)) == api.get("/api/control")["count"] == 4


@pytest.mark.process
@sqlite
@pytest.mark.parametrize(
    "changes",
    [
        {"device_id": "b"},
        {"command": "stop"},
        {"parameters": {"delay_seconds": 6}},
        {"expires_in": 61},
    ],
)
def test_a_key_cannot_be_used_for_another_command(
    api: Api, device: DeviceClient, changes: dict[str, Any]
) -> None:
    first = keyed(api, "k").get_json()
    refused = keyed(api, "k", **changes)
    assert refused.status_code == 422
    assert refused.get_json()["message"].startswith(
        "Idempotency-Key: k was used for another command"
    )
    assert device.next_command()["command_id"] == first["command_id"]
    assert (device.messages.empty(), api.get("/api/control")["count"]) == (True, 1)


@pytest.mark.process
@sqlite
@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb"])
def test_what_cannot_be_a_key_is_400_and_named(api: Api, key: str) -> None:
    refused = keyed(api, key)
    assert (refused.status_code, refused.get_json()["message"][:17]) == (400, "Idempotency-Key: ")
    assert keyed(api, "x" * 255).status_code == 202


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.process
def test_a_key_is_free_again_where_nothing_was_sent(settings: Callable[..., Settings]) -> None:
    port = free_port()
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=port)) as api:
        refused = keyed(api, "k")
        assert refused.status_code == 503
        with Broker(port=port, listen="127.0.0.1"):
            device = DeviceClient(port)
            accepted = keyed(api, "k")
            assert accepted.status_code == 202
            assert device.next_command()["command_id"] == accepted.get_json()["command_id"]
            assert accepted.get_json()["command_id"] != refused.get_json()["command_id"]
            device.close()


@pytest.mark.process
@pytest.mark.parametrize(("seconds", "again"), [(20, False), (31, True)])
def test_the_key_of_a_command_whose_process_was_killed_before_it_sent_it_is_free_soon(
    api: Api, device: DeviceClient, seconds: float, again: bool
) -> None:
    killed = keyed(api, "k", expires_in=3600).get_json()["command_id"]
    assert device.next_command()["command_id"] == killed
    database = api.app.extensions["autoforge"].database
    passed = timedelta(seconds=seconds)
    with database.write() as connection, database.transaction(connection):
        row = connection.execute(
            select(Command.issued_at, Command.expires_at, Command.deadline)
        ).one()
        values = {
            "issued_at": row[0] - passed,
            "expires_at": row[1] - passed,
            "deadline": row[2] - seconds,
        }
        connection.execute(update(Command).values(**values, status="pending", sent_at=None))
    answer = keyed(api, "k", expires_in=3600).get_json()
    assert (answer["command_id"] != killed) is again
    earlier = api.get(f"/api/control/{killed}")
    if again:
        assert device.next_command()["command_id"] == answer["command_id"]
        assert (earlier["status"], earlier["reason"]) == (
            "expired",
            "interrupted; perhaps never sent",
        )
    else:
        assert (earlier["status"], answer["status"], device.messages.empty()) == (
            "pending",
            "pending",
            True,
        )


@pytest.mark.process
def test_one_key_at_many_processes_at_once_publishes_once(
    settings: Callable[..., Settings], fast_broker: int, database_url: str, device: DeviceClient
) -> None:
    """Each app has its own connections, as gunicorn's workers have."""
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker, database_url=database_url)
    with ExitStack() as stack:
        apps = [stack.enter_context(running(place)) for _ in range(4)]
        for key in ("k-1", "k-2", "k-3"):
            answers: list[TestResponse] = []
            gate = threading.Barrier(8)

            def send(
                api: Api, key: str = key, gate: threading.Barrier = gate, got: Any = answers.append
            ) -> None:
                gate.wait(10)
                got(keyed(api, key))

            threads = [threading.Thread(target=send, args=(api,)) for api in apps * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert [answer.status_code for answer in answers] == [202] * 8
            assert {answer.get_json()["command_id"] for answer in answers} == {
                device.next_command()["command_id"]
            }
        apps[0].post("/api/control", COMMAND | {"command": "last"}, expect=202)
        assert device.next_command()["command"] == "last"
