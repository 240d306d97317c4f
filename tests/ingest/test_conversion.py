"""What becomes of the value of a metric: paths, pieces, words, units, scales and bytes."""

from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from ingest.message import Ignored, Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

HEX = "0201061BFF99040510AC4718C87D0004FFFC040CACB6420803D43A610B7C19"


def parsed(folder: Path, metric: str, payload: str, keys: str = "") -> Parsed:
    """What becomes of a payload of a stream with the metrics `m` and `other`."""
    (folder / "x.toml").write_text(
        f'topic = "x/{{device_id}}"\n{keys}\n[metrics]\nm = {metric}\nother = {{}}\n'
    )
    streams = load(folder, {}, DEVICE_TOPICS)
    return Parser(streams).parse(Message("x/7", payload.encode(), RECEIVED))


@pytest.mark.parametrize(
    ("metric", "field", "expected"),
    [
        ('"a.b"', '"a":{"b":1}', 1.0),
        ('"a.b"', '"a.b":2,"a":{"b":1}', 2.0),
        ('"a[1].b"', '"a":[0,{"b":1}]', 1.0),
        ('"a[-1]"', '"a":[0,5]', 5.0),
        ('"a[2]"', '"a":[0,5]', None),
        ('"a[0]"', '"a":"text"', None),
        ('"a.b"', '"a":5', None),
        ("'\"a.b\".c'", '"a.b":{"c":3}', 3.0),
        ('{ path = ["a", "b"] }', '"b":2', 2.0),
        ('{ path = ["a", "b"] }', '"a":null,"b":2', 2.0),
        ('{ path = ["a", "b"] }', '"a":1,"b":2', 1.0),
        ("{ map = { open = 1, closed = 0 } }", '"m":"open"', 1.0),
        ("{ map = { open = 1, closed = 0 } }", '"m":" closed "', 0.0),
        ("{ map = { open = 1, closed = 0 } }", '"m":7', 7.0),
        ('{ type = "text", map = { "2" = "on" } }', '"m":2', "on"),
        ('{ type = "text", map = { "2" = "on" } }', '"m":2.0', "on"),
        ('{ type = "text", map = { true = "on" } }', '"m":true', "on"),
        ('{ type = "boolean", map = { "8" = true, "0" = false } }', '"m":8', True),
        ("{ scale = 0.1 }", '"m":2312', 231.2),
        ("{ scale = 1e-7 }", '"m":481234567', 48.1234567),
        ("{ scale = 0.1, offset = -40 }", '"m":"615"', 21.5),
        ('{ type = "integer", scale = 10 }', '"m":9007199254740993', 90071992547409930),
        ('{ unit = "°C" }', '"m":"23.5 °C"', 23.5),
        ('{ unit = "V", suffix = "Volts" }', '"m":"230.0Volts"', 230.0),
        ('{ unit = "kWh", suffix = "*kWh" }', '"m":"001234.567*kWh"', 1234.567),
        ('{ split = ",", item = 1 }', '"m":"54.6,25.2"', 25.2),
        ('{ split = ",", item = -1 }', '"m":"54.6, 25.2 "', 25.2),
        ('{ split = ",", item = 5 }', '"m":"54.6,25.2"', None),
        ("{ item = 0 }", '"m":[120,35]', 120.0),
        ("{ item = 0 }", '"m":120', 120.0),
        ("{ item = -1 }", '"m":120', 120.0),
        ("{ item = 1 }", '"m":120', None),
        ('{ split = ",", item = 1 }', '"m":5', None),
        ('{ path = ["a", "b"] }', '"a":"nan","b":2', 2.0),
        ("{ map = { unknown = -1 } }", '"m":"unknown"', -1.0),
        ('{ type = "boolean", map = { none = false } }', '"m":"none"', False),
        ("{ base = 16 }", '"m":"0x1F4"', 500.0),
        ("{ base = 16 }", '"m":"00c8"', 200.0),
        ('{ bytes = { at = 8, as = "i16" }, scale = 0.005 }', f'"m":"{HEX}"', 21.34),
        ('{ bytes = { at = 0, as = "u16le" } }', '"m":"0100"', 1.0),
        ('{ bytes = { at = 0, as = "i8" } }', '"m":"ff"', -1.0),
        ('{ bytes = { at = 0, as = "f32", from = "base64" } }', '"m":"QcAAAA=="', 24.0),
        ('{ bytes = { at = 0, as = "f32" } }', '"m":"7FC00000"', None),
    ],
)
def test_a_value_is(metric: str, field: str, expected: Any, tmp_path: Path) -> None:
    found = parsed(tmp_path, metric, f'{{"other":1,{field}}}')
    assert isinstance(found, Reading), found
    assert (found.values, found.unread) == ((expected, 1.0), ())


@pytest.mark.parametrize(
    ("metric", "field", "error"),
    [
        ('"a.b"', '"a":{"b":"x"}', 'a.b: not a number: "x"'),
        ('{ unit = "V" }', '"m":"230.0 A"', 'm: not a number: "230.0 A"'),
        ("{ base = 16 }", '"m":"xyz"', 'm: expected digits of base 16, not "xyz"'),
        ("{ base = 16 }", '"m":"1_0"', 'm: expected digits of base 16, not "1_0"'),
        (
            '{ bytes = { at = 1, as = "u16" } }',
            '"m":"0102"',
            'm: expected at least 3 bytes in hex, not "0102"',
        ),
        (
            '{ bytes = { at = 1, as = "u16" } }',
            '"m":"0g0203"',
            'm: expected at least 3 bytes in hex, not "0g0203"',
        ),
        ("{ map = { open = 1 } }", '"m":"shut"', 'm: not a number: "shut"'),
        ('{ type = "integer", scale = 0.1 }', '"m":5', 'm: not an integer: "0.5"'),
        ("{ base = 16 }", f'"m":"{"F" * 81}"', f'm: expected digits of base 16, not "{"F" * 59}…'),
        (
            '{ split = ",", item = 0 }',
            f'"m":"{"1" * 10_001}"',
            "m: 10001 characters; at most 10000 are read",
        ),
        ("{ scale = 10 }", '"m":"1e999999"', 'm: too large to be stored: "1e999999"'),
    ],
)
def test_a_value_that_cannot_be_read_is_left_out_and_named(
    metric: str, field: str, error: str, tmp_path: Path
) -> None:
    found = parsed(tmp_path, metric, f'{{"other":1,{field}}}')
    assert isinstance(found, Reading), found
    assert (found.values, found.unread) == ((None, 1.0), (error,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23,5", 23.5),
        ("1.204,75", 1204.75),
        ("1 204,75", 1204.75),
        ("-0,5", -0.5),
        ("1.204", 1204.0),
        ("23.5", None),
        ("1.20,5", None),
    ],
)
def test_a_decimal_comma_is(text: str, expected: float | None, tmp_path: Path) -> None:
    found = parsed(tmp_path, "{}", f'{{"other":1,"m":"{text}"}}', 'decimal = ","')
    assert isinstance(found, Reading), found
    assert found.values[0] == expected


@pytest.mark.parametrize(
    "value", ['"-"', "9999.9999", '"9999.9999"', "9999.99990", '" - "', '"9999.99990"']
)
def test_words_and_numbers_may_mean_no_value(value: str, tmp_path: Path) -> None:
    keys = 'null = ["-", "9999.9999"]'
    found = parsed(tmp_path, "{}", f'{{"other":1,"m":{value}}}', keys)
    assert isinstance(found, Reading), found
    assert (found.values, found.unread) == ((None, 1.0), ())


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        ('{"kind":"a","n":2,"other":1}', Reading),
        ('{"kind":"b","n":2,"other":1}', Ignored),
        ('{"n":2,"other":1}', Ignored),
        ('{"kind":"a","n":true,"other":1}', Ignored),
        ('{"kind":"a","n":2.0,"other":1}', Reading),
    ],
)
def test_only_messages_with_certain_fields_may_concern_a_stream(
    payload: str, outcome: type, tmp_path: Path
) -> None:
    found = parsed(tmp_path, "{}", payload, 'only = { kind = "a", "n" = 2 }')
    assert isinstance(found, outcome), found


@pytest.mark.parametrize(
    ("keys", "payload", "outcome"),
    [
        ("", '{"x":1}', Rejection),
        ('empty = "ignore"', '{"x":1}', Ignored),
        ('empty = "ignore"', '{"m":null}', Ignored),
        ('empty = "ignore"', '{"m":"x"}', Rejection),
        ('values = "v.w"', '{"v":{}}', Rejection),
        ('values = "v.w"\nempty = "ignore"', '{"v":{}}', Ignored),
        ('values = "v.w"', '{"v":{"w":{"m":1}}}', Reading),
    ],
)
def test_a_message_without_metrics_is(
    keys: str, payload: str, outcome: type, tmp_path: Path
) -> None:
    assert isinstance(parsed(tmp_path, "{}", payload, keys), outcome)


@pytest.mark.parametrize(
    ("metric", "error"),
    [
        ('"a..b"', "metrics.m.path: expected names and indexes such as rxInfo[0].rssi"),
        ("{ path = [] }", ""),
        ('{ split = "," }', "metrics.m.item: expected which piece of the text"),
        ("{ base = 3 }", "metrics.m.base: expected one of 2, 8, 16"),
        (
            '{ base = 16, bytes = { at = 0, as = "u8" } }',
            "metrics.m.base: expected nothing, because `bytes` says what the digits are",
        ),
        ("{ scale = 0 }", "metrics.m.scale: expected finite numbers, and a scale other than 0"),
        ("{ scale = nan }", "metrics.m.scale: expected finite numbers, and a scale other than 0"),
        (
            '{ type = "text", scale = 2 }',
            "metrics.m.scale: expected nothing, because the values are text",
        ),
        (
            "{ map = { a = true } }",
            "metrics.m.map.a: expected a value of the type number, not True",
        ),
        (
            '{ bytes = { at = -1, as = "u8" } }',
            "metrics.m.bytes.at: expected a number from 0 to 65535",
        ),
        ('{ bytes = { at = 1, as = "u9" } }', "metrics.m.bytes.as: Expected u8 or i8 or u16"),
    ],
)
def test_a_wrong_key_of_a_metric_is_an_error(metric: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('topic = "good/{device_id}"\n[metrics.t]\n')
    (tmp_path / "x.toml").write_text(f'topic = "x/{{device_id}}"\n[metrics]\nm = {metric}\n')
    unusable = load(tmp_path, {}, DEVICE_TOPICS).unusable
    assert (unusable.get("x") or "").removeprefix(f"{tmp_path}/x.toml: ").startswith(error)
    assert bool(unusable) == bool(error)


@pytest.mark.parametrize(
    ("fields", "device_id"),
    [
        ('"model":"Nexus","id":137,"channel":3', "Nexus-3-hall-137"),
        ('"model":"Nexus","id":"137"', "Nexus-hall-137"),
        ('"channel":null', "hall"),
        ('"model":""', "hall"),
        ('"model":1.5', None),
        ('"model":true', None),
        ('"model":"a/b"', None),
    ],
)
def test_a_device_id_may_have_parts(fields: str, device_id: str | None, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'topic = "x/{room}"\ndevice = ["model", "channel", "{room}", "id"]\n[metrics.m]\n'
    )
    parser = Parser(load(tmp_path, {}, DEVICE_TOPICS))
    found = parser.parse(Message("x/hall", f'{{"m":1,{fields}}}'.encode(), RECEIVED))
    if device_id is None:
        assert isinstance(found, Rejection)
        assert found.reason == "invalid_device_id"
    else:
        assert isinstance(found, Reading)
        assert found.device_id == device_id


@pytest.mark.parametrize("value", ["9999", "-"])
def test_a_required_value_is_none_of_the_words_for_no_value(value: str, tmp_path: Path) -> None:
    payload = f'{{"m":"{value}","other":1}}'
    found = parsed(tmp_path, "{ required = true }", payload, 'null = ["9999", "-"]')
    assert isinstance(found, Rejection)
    assert found.text == f'm: no value: "{value}"'


def test_metrics_may_share_an_array_on_their_topic(tmp_path: Path) -> None:
    metrics = (
        'a = { level = "nrg", path = "[0]" }\nb = { level = "nrg", path = "[1]", type = "text" }\n'
    )
    (tmp_path / "x.toml").write_text(f'topic = "x/{{device_id}}/{{metric}}"\n[metrics]\n{metrics}')
    parser = Parser(load(tmp_path, {}, DEVICE_TOPICS))
    found = parser.parse(Message("x/d/nrg", b'[230.5,"on",0]', RECEIVED))
    assert isinstance(found, Reading), found
    assert found.values == (230.5, "on")


@pytest.mark.parametrize(("empty", "outcome"), [("ignore", Ignored), ("reject", Rejection)])
@pytest.mark.parametrize("payload", ['{"v":null}', "{}"])
def test_an_object_of_metrics_that_is_null_is_as_one_that_is_missing(
    empty: str, outcome: type, payload: str, tmp_path: Path
) -> None:
    keys = f'topic = "x/{{device_id}}"\nvalues = "v"\nempty = "{empty}"\n[metrics]\nm = {{}}\n'
    (tmp_path / "x.toml").write_text(keys)
    parser = Parser(load(tmp_path, {}, DEVICE_TOPICS))
    assert isinstance(parser.parse(Message("x/d1", payload.encode(), RECEIVED)), outcome)
