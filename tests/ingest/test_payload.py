"""Parsing: every message is a reading, or a rejection with a reason code and a sentence; nothing is ever raised."""

import json
import unicodedata
from datetime import datetime

import pytest

from broker.message import Message
from ingest.message import Ignored, Reading, Rejection
from ingest.payload import Parser
from tests.parsing import MOMENT, RECEIVED, TOPIC, VALUES, parse, reading, rejection, sensors
from tests.support import GOOD, payload


@pytest.mark.parametrize(
    ("timestamp", "moment"),
    [
        ("2026-01-29T14:30:45.123456", MOMENT),
        (1706539845.123456, datetime(2024, 1, 29, 14, 50, 45, 123456)),
    ],
    ids=["ISO 8601", "epoch seconds"],
)
def test_it_reads_the_documented_payload(
    timestamp: object, moment: datetime, parser: Parser
) -> None:
    message = Message(TOPIC, payload(timestamp=timestamp).encode(), RECEIVED)
    read = parser.parse(message)
    assert isinstance(read, Reading)
    assert (read.stream.name, read.device_id, read.timestamp, read.values) == (
        "sensors",
        "ESP32_001",
        moment,
        VALUES,
    )
    assert (read.device_timestamp, read.own_time, read.message) == (None, True, message)


@pytest.mark.parametrize(
    ("text", "temperature"),
    [
        ("24", "24.0"),
        ('"24.5"', "24.5"),
        ('"-1.5e2"', "-150.0"),
        ('"+5"', "5.0"),
        ('".5"', "0.5"),
        ("-0.0", "0.0"),
        ('"-0.0"', "0.0"),
        ("-0", "0.0"),
        ("-0e-400", "0.0"),
        ('"0.0e-5"', "0.0"),
        ("5e-324", "5e-324"),
        ("-3e-324", "-5e-324"),
        ("0." + "0" * 319 + "1", "1e-320"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("1e308", "1e+308"),
    ],
)
def test_it_reads_a_number(text: str, temperature: str, parser: Parser) -> None:
    assert repr(reading(parser, sensors(text)).values[0]) == temperature


@pytest.mark.parametrize(
    ("text", "reason", "sentence"),
    [
        pytest.param('"abc"', "not_a_number", 'temperature: not a number: "abc"', id="a word"),
        pytest.param(
            '"1_000"', "not_a_number", 'temperature: not a number: "1_000"', id="an underscore"
        ),
        pytest.param('"٢٤"', "not_a_number", 'temperature: not a number: "٢٤"', id="other digits"),
        pytest.param(
            '"0x10"', "not_a_number", 'temperature: not a number: "0x10"', id="hexadecimal"
        ),
        pytest.param(
            '"2 4.5"', "not_a_number", 'temperature: not a number: "2 4.5"', id="a space within"
        ),
        pytest.param('""', "not_a_number", 'temperature: not a number: ""', id="an empty text"),
        pytest.param('"NaN"', "not_a_number", 'temperature: not a number: "NaN"', id="NaN as text"),
        pytest.param(
            '"Infinity"',
            "not_a_number",
            'temperature: not a number: "Infinity"',
            id="infinity as text",
        ),
        pytest.param("true", "not_a_number", "temperature: not a number: true", id="a boolean"),
        pytest.param("null", "not_a_number", "temperature: not a number: null or NaN", id="null"),
        pytest.param("{}", "not_a_number", "temperature: not a number: {}", id="an object"),
        pytest.param("[24.5]", "not_a_number", "temperature: not a number: [24.5]", id="a list"),
        pytest.param(
            f'"{"x" * 500}"',
            "not_a_number",
            f'temperature: not a number: "{"x" * 59}…',
            id="a long text",
        ),
        pytest.param(
            '"\x9b31m"',
            "not_a_number",
            'temperature: not a number: "\\u009b31m"',
            id="a terminal's command",
        ),
        pytest.param("NaN", "not_a_number", "temperature: not a number: null or NaN", id="NaN"),
        pytest.param(
            "Infinity", "not_a_number", 'temperature: not a number: "Infinity"', id="infinity"
        ),
        pytest.param(
            "-Infinity", "not_a_number", 'temperature: not a number: "-Infinity"', id="-infinity"
        ),
        pytest.param(
            "1_000",
            "invalid_json",
            "not valid JSON: expected ',' or '}' (byte 16)",
            id="a bare underscore",
        ),
        pytest.param(
            "1e999", "number_out_of_range", "temperature: too large to be stored: 1e999", id="1e999"
        ),
        pytest.param(
            "-1e999",
            "number_out_of_range",
            "temperature: too large to be stored: -1e999",
            id="-1e999",
        ),
        *(
            pytest.param(
                text,
                "number_out_of_range",
                f"temperature: too small to be stored: {shown}",
                id=f"too small: {text}",
            )
            for text, shown in (
                *(
                    ("1e-400", "1e-400"),
                    ("-1E-400", "-1E-400"),
                    ('"1e-400"', '"1e-400"'),
                    ("1.e-400", '"1.e-400"'),
                ),
                *(("2e-324", "2e-324"), ("0.001e-399", "0.001e-399"), ('".1e-400"', '".1e-400"')),
            )
        ),
        pytest.param(
            f"0.{'0' * 230}1e-99",
            "number_out_of_range",
            f"temperature: too small to be stored: 0.{'0' * 58}…",
            id="too small, with an exponent of two digits",
        ),
        pytest.param(
            "0." + "0" * 400 + "1",
            "number_out_of_range",
            f"temperature: too small to be stored: 0.{'0' * 58}…",
            id="too small, without an exponent",
        ),
        pytest.param(
            "1" * 5_000,
            "number_out_of_range",
            f'temperature: too large to be stored: "{"1" * 59}…',
            id="5,000 digits",
        ),
        pytest.param(
            f'"{"1" * 500}"',
            "number_out_of_range",
            f'temperature: too large to be stored: "{"1" * 59}…',
            id="500 digits",
        ),
        pytest.param(
            '"1e999"',
            "number_out_of_range",
            'temperature: too large to be stored: "1e999"',
            id="1e999 as text",
        ),
        pytest.param(
            "1" * 400,
            "number_out_of_range",
            f"temperature: too large to be stored: {'1' * 60}…",
            id="400 digits",
        ),
        pytest.param(
            f"-{'1' * 4_300}",
            "number_out_of_range",
            f'temperature: too large to be stored: "-{"1" * 58}…',
            id="-4,300 digits",
        ),
    ],
)
def test_it_rejects_as_a_temperature(text: str, reason: str, sentence: str, parser: Parser) -> None:
    assert rejection(parser, sensors(text)) == (reason, sentence)


@pytest.mark.parametrize("field", list(GOOD))
def test_it_rejects_a_missing_value(field: str, parser: Parser) -> None:
    assert rejection(parser, payload(**{field: None})) == ("missing_field", f"{field}: missing")


LONE_SURROGATE = sensors('"\\ud800"')
DEEP = "[" * 30_000 + "]" * 30_000


@pytest.mark.parametrize(
    ("text", "reason", "sentence"),
    [
        pytest.param(b" \r\n", "empty_payload", "the payload is empty", id="white space"),
        pytest.param(
            b"\xef\xbb\xbf", "empty_payload", "the payload is empty", id="only a byte-order mark"
        ),
        pytest.param(
            b'{"x":"\xff"}', "invalid_utf8", "byte 6 is not valid UTF-8", id="invalid UTF-8"
        ),
        pytest.param(
            b'{"x":"\xed\xa0\x80"}',
            "invalid_utf8",
            "byte 6 is not valid UTF-8",
            id="a surrogate's bytes",
        ),
        pytest.param(
            payload().encode("utf-16"),
            "invalid_utf8",
            "byte 0 is not valid UTF-8",
            id="UTF-16 with a mark",
        ),
        pytest.param(
            payload().encode("utf-16-le"),
            "invalid_json",
            "not valid JSON: object keys must be strings (byte 1)",
            id="UTF-16 without a mark",
        ),
        pytest.param(
            payload()[:-9], "invalid_json", "not valid JSON: it ends too early", id="truncated"
        ),
        pytest.param(
            sensors() + "x",
            "invalid_json",
            None,
            id="garbage",
        ),
        pytest.param(sensors() + "{}", "invalid_json", None, id="two"),
        pytest.param(LONE_SURROGATE, "invalid_json", None, id="a lone surrogate"),
        pytest.param(
            sensors(more=',"x":"\\udc00"'),
            "invalid_json",
            None,
            id="a lone surrogate in another field",
        ),
        pytest.param(
            sensors('"\\u0000"'),
            "invalid_text",
            "a NUL character (\\u0000) cannot be stored",
            id="an escaped NUL",
        ),
        pytest.param(sensors(more=',"x":"\0"'), "invalid_json", None, id="a bare NUL"),
        pytest.param(
            f'{{"x":{DEEP}}}', "too_deep", "the JSON is nested too deeply", id="30,000 levels"
        ),
        pytest.param(
            "[" * 60_000,
            "too_deep",
            "the JSON is nested too deeply",
            id="60,000 levels without an end",
        ),
        pytest.param(
            '{"x":' * 20_000 + "1" + "}" * 20_000,
            "too_large",
            "120001 bytes; at most 65536 are allowed",
            id="20,000 objects in each other",
        ),
        pytest.param(
            b'"' + b"a" * 10_000_000,
            "too_large",
            "10000001 bytes; at most 65536 are allowed",
            id="10 million bytes",
        ),
        pytest.param(
            sensors() + " " * 65_536,
            "too_large",
            f"{len(sensors()) + 65_536} bytes; at most 65536 are allowed",
            id="padded with spaces",
        ),
        pytest.param("null", "not_an_object", "expected a JSON object, not null", id="null"),
        pytest.param("24.5", "not_an_object", "expected a JSON object, not 24.5", id="a number"),
        pytest.param('"on"', "not_an_object", 'expected a JSON object, not "on"', id="a text"),
        pytest.param("[1]", "not_an_object", "expected a JSON object, not [1]", id="a list"),
        pytest.param("{}", "missing_field", "temperature: missing", id="an empty object"),
    ],
)
def test_it_rejects_a_payload(
    text: str | bytes, reason: str, sentence: str | None, parser: Parser
) -> None:
    found, said = rejection(parser, text)
    assert found == reason
    assert said == sentence or (sentence is None and said)


@pytest.mark.parametrize(
    "topic", [TOPIC, "plant/status", "soil/data", "panel/P1/ampere", "panel/P1/mode", "unknown"]
)
def test_nothing_at_all_is_ignored(topic: str, parser: Parser) -> None:
    assert isinstance(parse(parser, b"", topic), Ignored)


def test_a_rejection_keeps_the_message_and_names_the_stream(parser: Parser) -> None:
    message = Message(TOPIC, b"\xff", RECEIVED)
    parsed = parser.parse(message)
    assert isinstance(parsed, Rejection)
    assert (parsed.stream, parsed.message) == ("sensors", message)


@pytest.mark.parametrize(
    ("text", "temperature"),
    [
        pytest.param(b"\xef\xbb\xbf" + payload().encode(), 24.5, id="a byte-order mark"),
        pytest.param(sensors("1", ',"temperature":2'), 2.0, id="a key twice: the last wins"),
        pytest.param(
            sensors("1", ',"temperature":2,"x":"\\u0041"'),
            2.0,
            id="a key twice, with an escape elsewhere",
        ),
        pytest.param(
            sensors('"abc"', ',"temperature":2'), 2.0, id="a key twice, the first one bad"
        ),
        pytest.param(sensors("1", ',"\\u0074emperature":2'), 2.0, id="an escaped key"),
        pytest.param(
            sensors(more=',"x":{"y":[null,true,"\\ud83d\\ude00"]}'), 24.5, id="other fields"
        ),
        pytest.param(sensors(more=',"x":"C:\\\\u0000"'), 24.5, id="a backslash before u0000"),
        pytest.param(f"\n\t {sensors()} \r\n", 24.5, id="white space around"),
    ],
)
def test_it_accepts(text: str | bytes, temperature: float, parser: Parser) -> None:
    assert reading(parser, text).values[0] == temperature


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("'; DROP TABLE sensor_readings; --", id="SQL"),
        pytest.param("__proto__", id="__proto__"),
        pytest.param("pump 7", id="a space within"),
        pytest.param(unicodedata.normalize("NFC", "Gerät"), id="NFC"),
        pytest.param(unicodedata.normalize("NFD", "Gerät"), id="NFD"),
        pytest.param("esp32_001", id="lower case"),
        pytest.param("x" * 128, id="128 characters"),
    ],
)
def test_a_device_id_is_taken_as_it_is(device: str, parser: Parser) -> None:
    assert reading(parser, payload(), f"sensors/{device}/data").device_id == device
    assert reading(parser, payload(device_id=device), f"sensors/{device}/data").device_id == device


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        pytest.param("", "the device id is empty", id="an empty level"),
        pytest.param(
            "a\0b", "the device id must not contain the invisible character U+0000", id="NUL"
        ),
        pytest.param(
            "a\nb",
            "the device id must not contain the invisible character U+000A",
            id="a line feed",
        ),
        pytest.param(
            "a\x7fb", "the device id must not contain the invisible character U+007F", id="DEL"
        ),
        pytest.param(
            "a\u200bb",
            "the device id must not contain the invisible character U+200B",
            id="zero width",
        ),
        pytest.param(
            "\ufeffa", "the device id must not contain the invisible character U+FEFF", id="a mark"
        ),
        pytest.param(
            "a\u202eb",
            "the device id must not contain the invisible character U+202E",
            id="right to left",
        ),
        pytest.param(
            "a\u2028b",
            "the device id must not contain the invisible character U+2028",
            id="a line separator",
        ),
        pytest.param(
            " a", "the device id must not begin or end with white space", id="a space before"
        ),
        pytest.param(
            "a\u00a0",
            "the device id must not begin or end with white space",
            id="a hard space after",
        ),
        pytest.param("a+b", "the device id must not contain + # or /", id="a wildcard"),
        pytest.param(
            "x" * 129,
            "the device id has 129 characters; at most 128 are allowed",
            id="129 characters",
        ),
    ],
)
def test_it_rejects_a_device_id(device: str, fault: str, parser: Parser) -> None:
    assert rejection(parser, payload(), f"sensors/{device}/data") == (
        "invalid_device_id",
        f"device_id: {fault}",
    )
    reason, sentence = rejection(
        parser, json.dumps({"machine_id": device, "speed": 1}), "plant/status"
    )
    # An escaped NUL may already be refused as text.
    assert (reason, sentence) == ("invalid_device_id", f"machine_id: {fault}") or device == "a\0b"


@pytest.mark.parametrize(
    "topic",
    ["other/ESP32_001/data", "sensors/a/b/data", "sensors/ESP32_001/data/", "/", "", "$SYS/a"],
)
def test_it_rejects_an_unknown_topic(topic: str, parser: Parser) -> None:
    assert rejection(parser, payload(), topic) == (
        "unknown_topic",
        "no declared stream has this topic",
    )


def test_it_rejects_a_topic_that_is_not_utf_8(parser: Parser) -> None:
    parsed = parser.parse(
        Message("sensors/\\xff/data", payload().encode(), RECEIVED, valid_topic=False)
    )
    assert isinstance(parsed, Rejection)
    assert (parsed.stream, parsed.reason, parsed.text) == (
        None,
        "invalid_topic",
        "the topic is not valid UTF-8",
    )


@pytest.mark.parametrize(
    ("topic", "text", "device"),
    [
        pytest.param(
            TOPIC, payload(device_id="ESP32_001"), "ESP32_001", id="topic and payload agree"
        ),
        pytest.param(
            "sensors/7/data", payload(device_id=7), "7", id="a number and the topic agree"
        ),
        pytest.param(
            "sensors/7/data",
            payload(device_id=7, x="é"),
            "7",
            id="a number, in a payload that is not ASCII",
        ),
        pytest.param(
            "plant/status", '{"machine_id":7,"speed":1}', "7", id="a number from the payload"
        ),
        pytest.param(
            "plant/status",
            '{"machine_id":89490200001234567890,"speed":1}',
            "89490200001234567890",
            id="a long number",
        ),
        pytest.param(
            "panel/7/ampere", '{"value":1,"device_id":7}', "7", id="a number, each metric a topic"
        ),
        pytest.param("plant/status", '{"machine_id":"M7","speed":1}', "M7", id="from the payload"),
        pytest.param(
            "soil/data",
            '{"sensor_readings":{"N":1},"node":"n2"}',
            "n2",
            id="from the payload, not default",
        ),
        pytest.param("soil/data", '{"sensor_readings":{"N":1}}', "node-1", id="the default"),
        pytest.param(
            TOPIC,
            sensors(more=',"device_id":null'),
            "ESP32_001",
            id="null says nothing beside the topic",
        ),
        pytest.param(
            "panel/P1/ampere", '{"value":1,"device_id":null}', "P1", id="null, each metric a topic"
        ),
        pytest.param(
            "soil/data",
            '{"sensor_readings":{"N":1},"node":null}',
            "node-1",
            id="null, so the default",
        ),
        pytest.param(
            "soil/data",
            '{"sensor_readings":{"N":1},"node":NaN}',
            "node-1",
            id="NaN, so the default",
        ),
        pytest.param(
            "panel/P1/ampere",
            '{"value":1,"device_id":"P1"}',
            "P1",
            id="each metric a topic, and they agree",
        ),
    ],
)
def test_the_device_is(topic: str, text: str, device: str, parser: Parser) -> None:
    assert reading(parser, text, topic).device_id == device


@pytest.mark.parametrize(
    ("topic", "text", "reason", "sentence"),
    [
        (
            TOPIC,
            payload(device_id="B"),
            "device_mismatch",
            'device_id: "B", but the topic says "ESP32_001"',
        ),
        (TOPIC, payload(device_id="esp32_001"), "device_mismatch", None),
        (
            TOPIC,
            payload(device_id=""),
            "device_mismatch",
            'device_id: "", but the topic says "ESP32_001"',
        ),
        (
            TOPIC,
            payload(device_id=7),
            "device_mismatch",
            'device_id: "7", but the topic says "ESP32_001"',
        ),
        (
            "sensors/7/data",
            payload(device_id=7.0),
            "invalid_device_id",
            "device_id: not a text: 7.0",
        ),
        (
            "sensors/1/data",
            payload(device_id=True),
            "invalid_device_id",
            "device_id: not a text: true",
        ),
        (
            "sensors/7/data",
            payload(device_id=[7]),
            "invalid_device_id",
            "device_id: not a text: [7]",
        ),
        ("panel/P1/ampere", '{"value":1,"device_id":"P2"}', "device_mismatch", None),
        *(
            (
                "plant/status",
                text,
                "missing_device",
                "machine_id: missing, and nothing else names the device",
            )
            for text in ('{"speed":1}', '{"speed":1,"machine_id":null}')
        ),
        (
            "soil/data",
            '{"sensor_readings":{"N":1},"node":""}',
            "invalid_device_id",
            "node: the device id is empty",
        ),
    ],
)
def test_it_rejects_because_of_the_device(
    topic: str, text: str, reason: str, sentence: str | None, parser: Parser
) -> None:
    found, said = rejection(parser, text, topic)
    assert found == reason
    assert said == sentence or (sentence is None and said)


@pytest.mark.parametrize(
    ("topic", "text", "values"),
    [
        pytest.param(
            "plant/status",
            '{"machine_id":"M7","speed":1,"state":"running"}',
            (1.0, "running"),
            id="both",
        ),
        pytest.param(
            "plant/status",
            '{"machine_id":"M7","state":"läuft"}',
            (None, "läuft"),
            id="a text alone",
        ),
        pytest.param(
            "plant/status", '{"machine_id":"M7","speed":"1"}', (1.0, None), id="a number alone"
        ),
        pytest.param(
            "soil/data", '{"sensor_readings":{"N":22,"pH":"7.2"}}', (22.0, 7.2), id="nested"
        ),
        pytest.param(
            "soil/data",
            '{"sensor_readings":{"N":22},"pH":7}',
            (22.0, None),
            id="only what is nested",
        ),
        pytest.param("panel/P1/ampere", "12.5", (12.5, None), id="a bare number"),
        pytest.param("panel/P1/ampere", " 12\n", (12.0, None), id="a bare number in white space"),
        pytest.param("panel/P1/ampere", '"12.5"', (12.5, None), id="a numeric text"),
        pytest.param(
            "panel/P1/ampere", '{"value":12.5}', (12.5, None), id="an object with a value"
        ),
        pytest.param(
            "panel/P1/ampere", '{"value":"12.5","unit":"A"}', (12.5, None), id="an object with more"
        ),
        pytest.param(
            "panel/P1/ampere",
            b"\xef\xbb\xbf12.5",
            (12.5, None),
            id="a number after a byte-order mark",
        ),
        pytest.param("panel/P1/mode", "running", (None, "running"), id="a bare text"),
        pytest.param(
            "panel/P1/mode", "running\n", (None, "running"), id="a bare text with a line feed"
        ),
        pytest.param("panel/P1/mode", "läuft", (None, "läuft"), id="a bare text that is not ASCII"),
        pytest.param("panel/P1/mode", '"running"', (None, "running"), id="a quoted text"),
        pytest.param(
            "panel/P1/mode", '{"value":"running"}', (None, "running"), id="an object with a text"
        ),
        pytest.param(
            "panel/P1/mode",
            b"\xef\xbb\xbfrunning",
            (None, "running"),
            id="a text after a byte-order mark",
        ),
    ],
)
def test_it_reads_the_values(
    topic: str, text: str | bytes, values: tuple[object, ...], parser: Parser
) -> None:
    assert reading(parser, text, topic).values == values


@pytest.mark.parametrize(
    ("topic", "text", "reason", "sentence"),
    [
        (
            "plant/status",
            '{"machine_id":"M7"}',
            "missing_field",
            "the payload has none of the metrics: speed, state",
        ),
        (
            "plant/status",
            '{"machine_id":"M7","speed":null}',
            "missing_field",
            "the payload has none of the metrics: speed, state",
        ),
        (
            "plant/status",
            '{"machine_id":"M7","speed":"abc"}',
            "not_a_number",
            'speed: not a number: "abc"',
        ),
        ("plant/status", '{"machine_id":"M7","state":5}', "not_text", "state: not a text: 5"),
        (
            "plant/status",
            '{"machine_id":"M7","state":null}',
            "missing_field",
            "the payload has none of the metrics: speed, state",
        ),
        (
            "plant/status",
            '{"machine_id":"M7","state":"a\\nb"}',
            "invalid_text",
            "state: the text must not contain the invisible character U+000A",
        ),
        (
            "plant/status",
            f'{{"machine_id":"M7","state":"{"x" * 256}"}}',
            "invalid_text",
            "state: the text has 256 characters; at most 255 are allowed",
        ),
        ("soil/data", "{}", "missing_field", "sensor_readings: missing"),
        (
            "soil/data",
            '{"sensor_readings":5}',
            "not_an_object",
            "sensor_readings: expected a JSON object, not 5",
        ),
        ("soil/data", '{"sensor_readings":{"pH":7}}', "missing_field", "N: missing"),
        ("soil/data", '{"N":22,"pH":7}', "missing_field", "sensor_readings: missing"),
        ("panel/P1/ampere", " ", "empty_payload", "the payload is empty"),
        ("panel/P1/ampere", "12 A", "not_a_number", "value: not a number: 12 A"),
        ("panel/P1/ampere", "abc", "not_a_number", "value: not a number: abc"),
        ("panel/P1/ampere", '"abc"', "not_a_number", 'value: not a number: "abc"'),
        ("panel/P1/ampere", "true", "not_a_number", "value: not a number: true"),
        ("panel/P1/ampere", "[1]", "not_a_number", "value: not a number: [1]"),
        ("panel/P1/ampere", '{"amps":1}', "missing_field", "value: missing"),
        (
            "panel/P1/ampere",
            "1" * 400,
            "number_out_of_range",
            f"value: too large to be stored: {'1' * 60}…",
        ),
        ("panel/P1/mode", " \n", "empty_payload", "the payload is empty"),
        ("panel/P1/mode", b"l\xe4uft", "invalid_utf8", "byte 1 is not valid UTF-8"),
        ("panel/P1/mode", "x" * 65_537, "too_large", "65537 bytes; at most 65536 are allowed"),
        (
            "panel/P1/mode",
            "x" * 256,
            "invalid_text",
            "value: the text has 256 characters; at most 255 are allowed",
        ),
        (
            "panel/P1/mode",
            "a\0b",
            "invalid_text",
            "value: the text must not contain the invisible character U+0000",
        ),
        ("panel/P1/mode", '{"value":5}', "not_text", "value: not a text: 5"),
        (
            "panel/P1/mode",
            '{"value":"running"',
            "invalid_json",
            "not valid JSON: it ends too early",
        ),
        (
            "panel/P1/mode",
            ' {"value":"running"',
            "invalid_json",
            "not valid JSON: it ends too early",
        ),
    ],
)
def test_it_rejects_the_values(
    topic: str, text: str | bytes, reason: str, sentence: str, parser: Parser
) -> None:
    assert rejection(parser, text, topic) == (reason, sentence)


@pytest.mark.parametrize("text", ['"7"', "7"])
def test_a_rejection_names_the_device_that_the_payload_names(text: str, parser: Parser) -> None:
    for speed in ('"abc"', "NaN", "+-5"):
        parsed = parse(parser, f'{{"machine_id":{text},"speed":{speed}}}', "plant/status")
        assert isinstance(parsed, Rejection)
        assert parsed.device_id == ("7" if speed != "+-5" else None)


def test_required_means_nothing_where_each_metric_has_a_topic(parser: Parser) -> None:
    assert reading(parser, "running", "panel/P1/mode").values == (None, "running")
