"""`POST /api/control`: a command reaches its device once, or the answer says that it does not."""

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from iotcore import Broker

from config import Settings
from tests.api import Api, running
from tests.devices import DeviceClient
from tests.support import free_port, wait_for

COMMAND = {"device_id": "ESP32_001", "command": "restart", "parameters": {"delay_seconds": 5}}
NO_DEVICE_IDS = (
    "a+b",
    "#",
    "a/b",
    "..",
    ".",
    "",
    "a\0b",
    "+",
    "a\nb",
    "a\x7fb",
    " a",
    "a\u200bb",
    "a" * 129,
)
CONNECT, PUBLISH = 1, 3
CONNACK = b"\x20\x02\x00\x00"


@pytest.fixture
def api(settings: Callable[..., Settings], fast_broker: int) -> Iterator[Api]:
    """The API with a broker."""
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker)) as api:
        yield api


@pytest.mark.process
def test_a_command_is_accepted_with_the_documented_answer(api: Api) -> None:
    answer = api.post("/api/control", COMMAND, expect=202)
    assert answer.keys() >= {"status", "device_id", "command", "message"}
    assert (answer["status"], answer["device_id"], answer["command"]) == (
        "acknowledged",
        "ESP32_001",
        "restart",
    )
    assert answer["message"]
    assert (
        api.get(answer["url"])["command_id"]
        == answer["command_id"]
        == str(uuid.UUID(answer["command_id"]))
    )


@pytest.mark.process
def test_a_command_is_published_at_qos_1_and_not_retained_with_exactly_the_declared_keys(
    api: Api, device: DeviceClient, fast_broker: int
) -> None:
    answer = api.post("/api/control", COMMAND, expect=202)
    message = device.next()
    assert (message.topic, message.qos, message.retain) == ("control/ESP32_001/command", 1, False)
    published = json.loads(message.payload)
    assert published.keys() == {"command_id", "command", "parameters", "issued_at", "expires_at"}
    assert (published["command"], published["parameters"]) == ("restart", {"delay_seconds": 5})
    assert (
        published["command_id"] == answer["command_id"] == str(uuid.UUID(published["command_id"]))
    )
    assert published["issued_at"].endswith("Z")
    assert datetime.now(UTC) - datetime.fromisoformat(published["issued_at"]) < timedelta(
        seconds=10
    )
    lifetime = datetime.fromisoformat(published["expires_at"]) - datetime.fromisoformat(
        published["issued_at"]
    )
    assert lifetime == timedelta(seconds=60)
    latecomer = DeviceClient(fast_broker)
    api.post("/api/control", COMMAND | {"command": "second"}, expect=202)
    assert json.loads(latecomer.next().payload)["command"] == "second"
    latecomer.close()


@pytest.mark.process
def test_parameters_may_be_left_out_and_may_be_anything_json_has(
    api: Api, device: DeviceClient
) -> None:
    api.post("/api/control", {"device_id": "ESP32_001", "command": "restart"}, expect=202)
    assert json.loads(device.next().payload)["parameters"] == {}
    parameters = {
        "a": [1, -0.5, None, True, {"ü": "🌡️"}],
        "": "",
        "big": 2**63,
        "__proto__": {"x": 1},
    }
    api.post("/api/control", COMMAND | {"parameters": parameters}, expect=202)
    assert json.loads(device.next().payload)["parameters"] == parameters


@pytest.mark.process
def test_a_command_expires_after_as_many_seconds_as_asked(api: Api, device: DeviceClient) -> None:
    for seconds in (1, 60.0, 604_800):
        api.post("/api/control", COMMAND | {"expires_in": seconds}, expect=202)
        sent = device.next_command()
        lifetime = datetime.fromisoformat(sent["expires_at"]) - datetime.fromisoformat(
            sent["issued_at"]
        )
        assert lifetime == timedelta(seconds=seconds)


@pytest.mark.process
def test_parameters_of_16_kb_are_sent_and_no_byte_more(api: Api, device: DeviceClient) -> None:
    frame = len('{"a":""}')
    for text in ("x" * (16_384 - frame), "ü" * ((16_384 - frame) // 2)):
        api.post("/api/control", COMMAND | {"parameters": {"a": text}}, expect=202)
        assert device.next_command()["parameters"] == {"a": text}
        message = api.post("/api/control", COMMAND | {"parameters": {"a": text + "x"}}, expect=400)[
            "message"
        ]
        assert message == "parameters: 16385 bytes as JSON; at most 16384 are allowed"


@pytest.mark.process
def test_every_command_has_an_id_of_its_own(api: Api, device: DeviceClient) -> None:
    answers = [api.post("/api/control", COMMAND, expect=202)["command_id"] for _ in range(5)]
    assert [json.loads(device.next().payload)["command_id"] for _ in range(5)] == answers
    assert len(set(answers)) == 5


@pytest.mark.process
def test_the_control_topic_is_the_configured_one(
    settings: Callable[..., Settings], fast_broker: int
) -> None:
    values = settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker, control_topic="plant/+/do")
    with running(values) as api:
        device = DeviceClient(fast_broker, "plant/+/do")
        api.post("/api/control", COMMAND | {"device_id": "機器 1"}, expect=202)
        assert device.next().topic == "plant/機器 1/do"
        device.close()


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"device_id": None}, "device_id"),
        ({"command": None}, "command"),
        ({"device_id": 7.5}, "device_id"),
        ({"device_id": True}, "device_id"),
        ({"device_id": [7]}, "device_id"),
        ({"command": 7}, "command"),
        ({"command": ""}, "command"),
        ({"command": "x" * 65}, "command"),
        ({"parameters": [1]}, "parameters"),
        ({"parameters": "fast"}, "parameters"),
        ({"parametres": {}}, "parametres"),
        ({"expire_in": 5}, "expire_in"),
        ({"command_id": "mine"}, "command_id"),
        ({"command": "a\nb"}, "command"),
        ({"command": "a\0b"}, "command"),
        *[
            ({"expires_in": seconds}, "expires_in")
            for seconds in (0, -1, 1.5, 604_801, "soon", [60], 10**30)
        ],
        *[({"device_id": device_id}, "device_id") for device_id in NO_DEVICE_IDS],
    ],
)
def test_a_bad_command_is_400_and_names_the_field(
    refusing: Api, changes: dict[str, Any], named: str
) -> None:
    body = {key: value for key, value in (COMMAND | changes).items() if value is not None}
    assert refusing.post("/api/control", body, expect=400)["message"].startswith(f"{named}: ")
    assert refusing.get("/api/control")["count"] == 0


@pytest.mark.broker
@pytest.mark.parametrize(
    "body",
    [
        "", "restart", "[]", "null", '"restart"', "7", "{", b"\xff", "[" * 10_000, '{"a":' * 10_000,
        '{"device_id": "a", "command": "x", "parameters": {"a": NaN}}',
        '{"device_id": "a", "command": "x", "parameters": {"a": Infinity}}',
        '{"device_id": "a", "command": "x", "parameters": {"a": "\\ud800"}}',
        '{"device_id": "a", "command": "x", "parameters": {"\\ud800": 1}}',
        '{"device_id": "a", "command": "\\ud800"}',
        json.dumps(json.dumps(COMMAND)),
        '"\\ud800"',
    ],
)  # fmt: skip
def test_a_body_that_is_no_command_is_400(refusing: Api, body: str | bytes) -> None:
    assert refusing.post("/api/control", body, expect=400)["message"]
    assert refusing.get("/api/control")["count"] == 0


@pytest.mark.broker
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"device_id": "\\ud800"}', "a text has half of a surrogate pair"),
        ('{"device_id": "a", "parameters": {"\\udc00": 1}}', "a text has half of a surrogate pair"),
        ('{"device_id": "\\ud800\\u0041"}', "a text has half of a surrogate pair"),
        ('{"device_id": nul', "it ends too early"),
        ('{"device_id": no', "no is not a value (byte 14)"),
        ('{"device_id": "a"', "it ends too early"),
        ("", "it ends too early"),
        ("restart", "invalid character (byte 0)"),
        ("[" * 10_000, "it is nested too deeply"),
    ],
)
def test_it_says_why_a_body_is_not_json_as_for_readings(refusing: Api, body: str, why: str) -> None:
    for path in ("/api/control", "/api/mqtt/publish", "/api/sensors/readings"):
        message = refusing.post(path, body, expect=400)["message"]
        assert message.lower() == f"the body is not json: {why}".lower()


@pytest.mark.broker
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"device_id": "a", "device_id": "b", "command": "x"}', "device_id"),
        ('{"device_id": "a", "device_id": "a", "command": "x"}', "device_id"),
        ('{"device_id": "a", "command": "x", "expires_in": 5, "expires_in": 600}', "expires_in"),
        ('{"device_id": "a", "command": "x", "parameters": {"speed": 1, "speed": 2}}', "speed"),
        ('{"device_id": "a", "command": "x", "parameters": {"steps": [{"to": 1, "to": 2}]}}', "to"),
        ('{"device_id": "a", "command": "x", "d\\u0065vice_id": "b"}', "device_id"),
        ('{"device_id": "a", "command": "x", "parameters": {"\\n": 1, "\\n": 2}}', "\\u000a"),
    ],
)
def test_a_field_that_stands_twice_is_400_and_named(refusing: Api, body: str, named: str) -> None:
    message = refusing.post("/api/control", body, expect=400)["message"]
    assert message == f"{named}: occurs twice in one object; send it once"
    assert refusing.get("/api/control")["count"] == 0


@pytest.mark.broker
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ('{"a": 9007199254740993.0}', "parameters.a: 9007199254740993.0 would become 9007199254"),
        ('{"a": [0, {"b": -9007199254740993.5}]}', "parameters.a.1: -9007199254740993.5 would"),
        ('{"a": 12345678901234567890123e1}', "parameters.a: 12345678901234567890123e1 would"),
        ('{"a": 1e-400}', "parameters.a: 1e-400 would become 0.0; use a number that a 64-bit"),
        (f'{{"a": -0.{"0" * 400}1}}', f"parameters.a: -0.{'0' * 57}… would become 0.0"),
        ('{"a": 1e400}', "parameters.a: 1e400 is beyond the largest number, 1.7976931348623157e"),
        (f'{{"a": {"1" * 1_001}}}', f"parameters.a: {'1' * 60}… has 1001 digits; at most 1000"),
        (f'{{"a": {"1" * 5_000}}}', f"parameters.a: {'1' * 60}… has 5000 digits"),
        ('{"a": NaN}', "The body is not JSON: NaN is not a value (byte 55)"),
        ('{"a": "\udcff"}', "The body is not JSON: byte 56 is not valid UTF-8"),
    ],
)
def test_a_value_that_would_be_altered_is_400_with_its_place(
    refusing: Api, parameters: str, told: str
) -> None:
    body = f'{{"device_id": "a", "command": "x", "parameters": {parameters}}}'
    content = body.encode(errors="surrogateescape")
    assert refusing.post("/api/control", content, expect=400)["message"].startswith(told)
    assert refusing.get("/api/control")["count"] == 0


@pytest.mark.process
@pytest.mark.parametrize(
    "spelling",
    [
        *("0.1", "-0.0", "1.50", "0e-999", "1e22", "5e-324", "9007199254740992.0", "1e308"),
        "1.2345678901234567e+300",
        "9" * 1_000,
    ],
)
def test_a_number_that_can_be_kept_reaches_the_device(
    api: Api, device: DeviceClient, spelling: str
) -> None:
    body = f'{{"device_id": "ESP32_001", "command": "x", "parameters": {{"a": {spelling}}}}}'
    api.post("/api/control", body, expect=202)
    assert device.next_command()["parameters"]["a"] == json.loads(spelling)


@pytest.mark.process
def test_a_body_may_begin_with_a_byte_order_mark(api: Api, device: DeviceClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(COMMAND).encode()
    answer = api.post("/api/control", body, expect=202)
    assert device.next_command()["command_id"] == answer["command_id"]


@pytest.mark.process
@pytest.mark.parametrize("device_id", [7, 0, 20251129])
def test_a_device_id_that_is_a_whole_number_is_its_digits(
    api: Api, device: DeviceClient, device_id: int
) -> None:
    answer = api.post("/api/control", COMMAND | {"device_id": device_id}, expect=202)
    assert answer["device_id"] == str(device_id)
    assert device.next().topic == f"control/{device_id}/command"


@pytest.mark.process
def test_deeply_nested_parameters_are_sent_or_400(api: Api) -> None:
    for depth in (100, *range(150, 300, 5), 400, 1000):
        body = f'{{"device_id": "a", "command": "x", "parameters": {{"a": {"[" * depth}{"]" * depth}}}}}'
        answer = api.client.post("/api/control", data=body, content_type="application/json")
        if answer.status_code == 202:
            assert api.get(answer.get_json()["url"])["parameters"]["a"] is not None
        else:
            assert (answer.status_code, bool(answer.get_json()["message"])) == (400, True), depth


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.process
def test_without_a_broker_a_command_is_503_and_is_not_sent_later(
    settings: Callable[..., Settings],
) -> None:
    port = free_port()
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=port)) as api:
        refused = api.post("/api/control", COMMAND | {"command": "before any broker"}, expect=503)
        assert f"127.0.0.1:{port}" in refused["message"]
        assert refused["message"].endswith(": nothing was sent, try again")
        failed = api.get(f"/api/control/{refused['command_id']}")
        assert (failed["status"], failed["sent_at"]) == ("failed", None)
        assert failed["reason"].startswith(f"not sent: mqtt://127.0.0.1:{port} cannot be reached")
        with Broker(port=port, listen="127.0.0.1"):
            device = DeviceClient(port)
            api.post("/api/control", COMMAND | {"command": "first"}, expect=202)
            assert json.loads(device.next().payload)["command"] == "first"
            device.close()
        wait_for(lambda: not connected(api), what="the loss of the connection")
        assert (
            f"127.0.0.1:{port}"
            in api.post("/api/control", COMMAND | {"command": "while away"}, expect=503)["message"]
        )
        with Broker(port=port, listen="127.0.0.1"):
            device = DeviceClient(port)
            api.post("/api/control", COMMAND | {"command": "second"}, expect=202)
            assert json.loads(device.next().payload)["command"] == "second"
            device.close()


def connected(api: Api) -> bool:
    """Whether the app's publisher has a connection."""
    client = api.app.extensions["autoforge"].web.publisher._client
    return client is not None and client.is_connected()


@pytest.mark.broker
@pytest.mark.database
def test_a_command_that_the_broker_does_not_acknowledge_is_503_and_is_not_sent_again(
    settings: Callable[..., Settings],
) -> None:
    """No real broker forgets an acknowledgement, so this one is a socket that answers what the test wants."""
    received: list[bytes] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        ThreadPoolExecutor(1) as pool,
        running(settings(mqtt_broker="127.0.0.1", mqtt_port=server.getsockname()[1])) as api,
    ):
        forgetful = pool.submit(answer_one_connection, server, received, acknowledge=False)
        answer = api.post("/api/control", COMMAND, expect=503)
        assert answer["message"].endswith(
            " did not acknowledge the message: the device may have received it"
        )
        # Until the device says so, or until it expires.
        assert api.get(f"/api/control/{answer['command_id']}")["status"] == "pending"
        forgetful.result(10)
        pool.submit(answer_one_connection, server, received, acknowledge=True)
        api.post("/api/control", COMMAND | {"command": "another"}, expect=202)
    assert [json.loads(payload)["command"] for payload in received] == ["restart", "another"]


def answer_one_connection(server: socket.socket, received: list[bytes], acknowledge: bool) -> None:
    """Accept one MQTT connection until its end, and keep the payload of whatever it publishes."""
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as stream:
        while head := stream.read(1):
            length = shift = 0
            while (digit := stream.read(1)[0]) & 0x80:
                length, shift = length | (digit & 0x7F) << shift, shift + 7
            body = stream.read(length | digit << shift)
            if head[0] >> 4 == CONNECT:
                connection.sendall(CONNACK)
            elif head[0] >> 4 == PUBLISH:
                packet_id = 2 + int.from_bytes(body[:2], "big")
                received.append(body[packet_id + 2 :])
                if acknowledge:
                    connection.sendall(b"\x40\x02" + body[packet_id : packet_id + 2])


@pytest.mark.process
def test_commands_at_once_reach_their_devices(api: Api, device: DeviceClient) -> None:
    def send(number: int) -> None:
        Api(api.app).post("/api/control", COMMAND | {"device_id": f"d{number}"}, expect=202)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {device.next().topic for _ in range(10)} == {
        f"control/d{number}/command" for number in range(10)
    }
