"""What devices say beside their readings: what is an acknowledgement or a sign of presence, and what is set aside."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.message import Message
from config import Settings
from ingest.acknowledgements import ANSWERS, Acknowledgement
from ingest.device_messages import DeviceMessages
from ingest.message import Parsed, Rejection
from ingest.payload import Parser
from ingest.presence import PresenceNotice
from streams.own_topics import DeviceTopics
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from wiring.pipelines import DeviceKinds

ACK, STATUS = "control/ESP32_001/ack", "status/ESP32_001"
GOOD = {"command_id": "c", "status": "succeeded"}
SHIPPED = DeviceMessages(DeviceKinds.of(DEVICE_TOPICS))
NO_JSON_OBJECT = [
    pytest.param(b" ", "empty_payload", "the payload is empty", id="nothing"),
    pytest.param(b" \n", "empty_payload", "the payload is empty", id="white space"),
    pytest.param(b"\xff\xfe", "invalid_utf8", "byte 0 is not valid UTF-8", id="no UTF-8"),
    pytest.param(
        '{"status":"online"}'.encode("utf-16"),
        "invalid_utf8",
        "byte 0 is not valid UTF-8",
        id="UTF-16",
    ),
    pytest.param(
        b'{"command_id":"\xff"}',
        "invalid_utf8",
        "byte 15 is not valid UTF-8",
        id="a text that is no UTF-8",
    ),
    pytest.param(b'{"command_id":"c"', "invalid_json", "", id="truncated"),
    pytest.param(b'{"command_id":"c"}x', "invalid_json", "", id="trailing garbage"),
    pytest.param(b'{"result":NaN}', "invalid_json", "", id="NaN"),
    pytest.param(b'{"result":-Infinity}', "invalid_json", "", id="infinity"),
    pytest.param(
        b'{"result":1e999}', "number_out_of_range", "a number is too large to be stored", id="1e999"
    ),
    pytest.param(
        b'{"result":' + b"9" * 5000 + b"}",
        "number_out_of_range",
        "a number is too large",
        id="5000 digits",
    ),
    pytest.param(
        b'{"a":' * 50_000,
        "too_large",
        "250000 bytes; at most 65536 are allowed",
        id="a quarter of a MB",
    ),
    pytest.param(
        b'{"a":' * 10_000, "too_deep", "the JSON is nested too deeply", id="nested objects"
    ),
    pytest.param(b"[" * 60_000, "too_deep", "the JSON is nested too deeply", id="nested lists"),
    pytest.param(b'{"command_id":"\\ud800"}', "invalid_json", "", id="a lone surrogate"),
    pytest.param(b'{"reason":"a\\u0000b"}', "invalid_text", "a NUL character", id="NUL"),
    pytest.param(
        b'"online"', "not_an_object", 'expected a JSON object, not "online"', id="a JSON text"
    ),
    pytest.param(b"null", "not_an_object", "expected a JSON object, not null", id="null"),
    pytest.param(b"[1]", "not_an_object", "expected a JSON object, not [1]", id="a list"),
    pytest.param(b"1", "not_an_object", "expected a JSON object, not 1", id="a number"),
]


def parse(payload: str | bytes, topic: str) -> Parsed:
    raw = payload if isinstance(payload, bytes) else payload.encode()
    parsed = SHIPPED.parse(Message(topic, raw, RECEIVED))
    assert parsed is not None
    return parsed


def acknowledgement(payload: str | bytes | dict[str, Any], topic: str = ACK) -> Acknowledgement:
    parsed = parse(json.dumps(payload) if isinstance(payload, dict) else payload, topic)
    assert isinstance(parsed, Acknowledgement), parsed
    return parsed


def rejection(payload: str | bytes, topic: str) -> tuple[str, str]:
    parsed = parse(payload, topic)
    assert isinstance(parsed, Rejection), parsed
    assert parsed.stream is None
    assert parsed.message.topic == topic
    return parsed.reason, parsed.text


# Acknowledgements


@pytest.mark.parametrize("status", ANSWERS)
def test_an_acknowledgement_has_command_device_and_status(status: str) -> None:
    parsed = acknowledgement({"command_id": "c", "status": status})
    assert (parsed.command_id, parsed.device_id, parsed.status) == ("c", "ESP32_001", status)
    assert (parsed.reason, parsed.result, parsed.message.received_at) == (None, None, RECEIVED)


@pytest.mark.parametrize(
    ("more", "reason", "result"),
    [
        ({"reason": "jämmed 🌡️"}, "jämmed 🌡️", None),
        ({"reason": None, "result": None}, None, None),
        ({"reason": ""}, "", None),
        ({"reason": "x" * 501}, "x" * 500, None),
        ({"reason": "🌡" * 501}, "🌡" * 500, None),
        ({"result": {"a": [1, -0.5, None, True, "ü"]}}, None, '{"a":[1,-0.5,null,true,"ü"]}'),
        ({"result": False}, None, "false"),
        ({"result": 0}, None, "0"),
        ({"result": ""}, None, '""'),
        ({"result": 10**30}, None, "1" + 30 * "0"),
        ({"device_id": "another", "time": 1}, None, None),
    ],
)
def test_an_acknowledgement_may_have_a_reason_and_any_result(
    more: dict[str, Any], reason: str | None, result: str | None
) -> None:
    parsed = acknowledgement(GOOD | more)
    assert (parsed.device_id, parsed.reason, parsed.result) == ("ESP32_001", reason, result)


def test_a_byte_order_mark_and_white_space_do_not_matter_and_of_equal_keys_the_last_wins() -> None:
    text = ' \r\n{"command_id":"a","status":"failed","status" : "succeeded","command_id":"c"}\n'
    parsed = acknowledgement(b"\xef\xbb\xbf" + text.encode())
    assert (parsed.command_id, parsed.status) == ("c", "succeeded")


@pytest.mark.parametrize(("payload", "reason", "sentence"), NO_JSON_OBJECT)
def test_an_acknowledgement_that_is_no_json_object_is_set_aside(
    payload: bytes, reason: str, sentence: str
) -> None:
    found = rejection(payload, ACK)
    assert found[0] == reason
    assert found[1].startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"command_id": None}, "command_id: expected a text, not null"),
        ({"command_id": 7}, "command_id: expected a text, not 7"),
        ({"command_id": ["c"]}, 'command_id: expected a text, not ["c"]'),
        ({"command_id": "c" * 37}, "command_id: 37 characters; at most 36 are allowed"),
        (
            {"status": None},
            "status: expected one of in_progress, succeeded, failed, rejected, not null",
        ),
        (
            {"status": "done"},
            'status: expected one of in_progress, succeeded, failed, rejected, not "done"',
        ),
        ({"status": "Succeeded"}, "status: expected one of "),
        ({"status": "expired"}, "status: expected one of "),
        ({"status": "sent"}, "status: expected one of "),
        ({"status": "pending"}, "status: expected one of "),
        ({"status": True}, "status: expected one of "),
        ({"status": ["succeeded"]}, "status: expected one of "),
        ({"status": {"succeeded": 1}}, "status: expected one of "),
        ({"reason": 7}, "reason: expected a text, not 7"),
        ({"reason": ["jammed"]}, "reason: expected a text, not "),
    ],
)
def test_an_acknowledgement_with_a_wrong_field_is_set_aside_and_names_it(
    changes: dict[str, Any], sentence: str
) -> None:
    reason, found = rejection(json.dumps(GOOD | changes), ACK)
    assert reason == "invalid_acknowledgement"
    assert found.startswith(sentence)


@pytest.mark.parametrize("key", ["command_id", "status"])
def test_an_acknowledgement_without_a_field_is_set_aside_and_names_it(key: str) -> None:
    reason, found = rejection(json.dumps({name: GOOD[name] for name in GOOD if name != key}), ACK)
    assert (reason, found.partition(":")[0]) == ("invalid_acknowledgement", key)


# Presence


@pytest.mark.parametrize(
    "frame", ["{}", " {}\r\n", "\ufeff{}", '{{"status": "{}"}}', '\ufeff{{"at":1,"status":"{}"}} ']
)
@pytest.mark.parametrize("word", ["online", "offline"])
def test_a_device_says_it_bare_or_as_an_object(frame: str, word: str) -> None:
    parsed = parse(frame.format(word), STATUS)
    assert isinstance(parsed, PresenceNotice), parsed
    assert (parsed.device_id, parsed.online) == ("ESP32_001", word == "online")


@pytest.mark.parametrize(("payload", "reason", "sentence"), NO_JSON_OBJECT)
def test_a_presence_that_is_no_json_object_is_set_aside(
    payload: bytes, reason: str, sentence: str
) -> None:
    found = rejection(payload, STATUS)
    assert found[0] == reason
    assert found[1].startswith(sentence)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("Online", "invalid_json"),
        ("ONLINE", "invalid_json"),
        ("on line", "invalid_json"),
        ("online offline", "invalid_json"),
        ("onlineoffline", "invalid_json"),
        ("true", "not_an_object"),
        ("{}", "invalid_presence"),
        ('{"status":"Online"}', "invalid_presence"),
        ('{"status":" online"}', "invalid_presence"),
        ('{"status":true}', "invalid_presence"),
        ('{"status":null}', "invalid_presence"),
        ('{"status":["online"]}', "invalid_presence"),
        ('{"status":{"online":true}}', "invalid_presence"),
        ('{"online":true}', "invalid_presence"),
    ],
)
def test_what_says_neither_online_nor_offline_is_set_aside(payload: str, reason: str) -> None:
    found = rejection(payload, STATUS)
    assert found[0] == reason
    if reason == "invalid_presence":
        assert found[1].startswith("status: expected online or offline, not ")


# Topics and device ids


@pytest.mark.parametrize(
    "device_id",
    [
        "",
        " a",
        "a ",
        ".",
        "..",
        "a\nb",
        "a\x7fb",
        "a\u200bb",
        "a\u202eb",
        "\ufeffa",
        "a\u2028b",
        "a" * 129,
    ],
)
def test_a_device_id_that_cannot_be_one_is_set_aside(device_id: str) -> None:
    for topic, payload in (
        (f"control/{device_id}/ack", json.dumps(GOOD)),
        (f"status/{device_id}", "online"),
    ):
        reason, sentence = rejection(payload, topic)
        assert reason == "invalid_device_id"
        assert sentence.startswith("the device id ")
        assert sentence.isprintable()


@pytest.mark.parametrize(
    "device_id",
    [
        "a",
        "a" * 128,
        "機器 42",
        "🌡️",
        "'; DROP TABLE commands; --",
        "__proto__",
        "%s",
        "O\u0308fen",
        "...",
    ],
)
def test_a_device_id_that_looks_like_code_is_one(device_id: str) -> None:
    assert acknowledgement(GOOD, f"control/{device_id}/ack").device_id == device_id
    parsed = parse("offline", f"status/{device_id}")
    assert isinstance(parsed, PresenceNotice)
    assert parsed.device_id == device_id


@pytest.mark.parametrize(
    "topic",
    ["control/a/b/ack", "control/ack", "status", "status/a/b", "Status/a", "/status/a", ""],
)
def test_any_other_topic_is_none_of_theirs(topic: str) -> None:
    assert SHIPPED.parse(Message(topic, b"online", RECEIVED)) is None


def test_the_topics_are_the_configured_ones() -> None:
    topics = DeviceTopics.of(
        Settings(_env_file=None, ack_topic="+/did.it", status_topic="plant/+/alive")
    )
    messages = DeviceMessages(DeviceKinds.of(topics))
    acknowledged = messages.parse(Message("a/did.it", json.dumps(GOOD).encode(), RECEIVED))
    present = messages.parse(Message("plant/b/alive", b"online", RECEIVED))
    assert isinstance(acknowledged, Acknowledgement)
    assert isinstance(present, PresenceNotice)
    assert (acknowledged.device_id, present.device_id) == ("a", "b")
    for topic in ("a/didXit", ACK, STATUS):
        assert messages.parse(Message(topic, b"online", RECEIVED)) is None


def test_a_topic_that_is_not_utf_8_is_set_aside(parser: Parser) -> None:
    parsed = parser.parse(Message("status/\\xff", b"online", RECEIVED, valid_topic=False))
    assert isinstance(parsed, Rejection)
    assert parsed.reason == "invalid_topic"


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=10
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "command_id": st.just("c") | JSON,
        "status": st.sampled_from((*ANSWERS, "online", "offline", "expired")) | JSON,
        "reason": st.text() | JSON,
        "result": JSON,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary() | FIELDS.map(lambda fields: json.dumps(fields).encode()),
    st.sampled_from((ACK, STATUS)),
)
def test_whatever_comes_is_understood_or_set_aside_and_can_be_stored(
    payload: bytes, topic: str
) -> None:
    parsed = parse(payload, topic)
    if isinstance(parsed, Rejection):
        assert parsed.text
        assert len(parsed.reason) <= 40
    elif isinstance(parsed, Acknowledgement):
        assert topic == ACK
        assert (parsed.status in ANSWERS, "\0" in f"{parsed.reason}{parsed.result}") == (
            True,
            False,
        )
        assert parsed.result is None or json.loads(parsed.result) == json.loads(payload)["result"]
    else:
        assert (type(parsed), topic) == (PresenceNotice, STATUS)
