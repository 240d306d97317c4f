"""Streams whose payloads are not JSON, from the bytes of a message to the reading."""

import gzip
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from broker.message import Message
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

MOMENT = datetime(2025, 9, 29, 16, 27, 50)
METRICS = '[metrics]\na = {}\ns = { type = "text" }\nn = { type = "integer" }\n'
IN_TOPIC = 'topic = "x/{device_id}"\n'
CSV = f'{IN_TOPIC}format = "csv"\ncolumns = ["a", "s", "n", "timestamp"]\n'
METERS = 'topic = "x/#"\nformat = "csv"\nseparator = ";"\ndevice = "meter"\ndecimal = ","\n'
INFLUX = 'topic = "x/#"\nformat = "influx"\ndevice = ["tags.host", "tags.cpu"]\n'
SENML = 'topic = "x/#"\nformat = "senml"\n'
BINARY = {"a": 1.5, "s": "on", "n": 2**53 + 1, "timestamp": MOMENT.timestamp()}


def parsed(folder: Path, keys: str, payload: str | bytes) -> Parsed:
    (folder / "x.toml").write_text(keys + METRICS)
    content = payload.encode() if isinstance(payload, str) else payload
    return Parser(load(folder, {}, DEVICE_TOPICS)).parse(Message("x/7", content, RECEIVED))


@pytest.mark.parametrize(
    ("keys", "payload", "device", "values", "is_dated"),
    [
        pytest.param(
            CSV, "1.5,on,9007199254740993,1759163270", "7", (1.5, "on", 2**53 + 1), True, id="csv"
        ),
        pytest.param(CSV, "1.50,,", "7", (1.5, None, None), False, id="csv without a time"),
        pytest.param(
            CSV, gzip.compress(b"1.5,on,2,", mtime=0), "7", (1.5, "on", 2), False, id="packed csv"
        ),
        pytest.param(
            METERS,
            'meter;a;s;timestamp\n0815;1.234,5;"a;b";2025-09-29 16:27:50',
            "0815",
            (1234.5, "a;b", None),
            True,
            id="csv with names, another separator and a decimal comma",
        ),
        pytest.param(
            INFLUX,
            'm,host=h,cpu=0 a=1.5,s="on, off",n=9007199254740993i 1759163270000000000',
            "h-0",
            (1.5, "on, off", 2**53 + 1),
            True,
            id="influx",
        ),
        pytest.param(
            f'{INFLUX}values = "fields"\n',
            "m,host=h a=1",
            "h",
            (1.0, None, None),
            False,
            id="fields of influx",
        ),
        pytest.param(
            SENML,
            '[{"bn":"urn:dev:mac:1:","bt":1759163270,"n":"a","v":1.5},{"n":"s","vs":"on"}]',
            "urn:dev:mac:1",
            (1.5, "on", None),
            True,
            id="senml",
        ),
        pytest.param(
            f'{SENML}device = "{{#}}"\n'.replace("x/#", "x/{room}").replace("{#}", "{room}"),
            '[{"bn":"urn:dev:mac:1:","n":"a","v":1.5,"t":-5}]',
            "7",
            (1.5, None, None),
            False,
            id="senml with the device of the topic",
        ),
        pytest.param(
            f'{IN_TOPIC}format = "msgpack"\n',
            msgspec.msgpack.encode(BINARY),
            "7",
            (1.5, "on", 2**53 + 1),
            True,
            id="msgpack",
        ),
        pytest.param(
            f'{IN_TOPIC}format = "msgpack"\n',
            gzip.compress(msgspec.msgpack.encode({"a": 1.5}), mtime=0),
            "7",
            (1.5, None, None),
            False,
            id="packed msgpack with zeros at its end",
        ),
        pytest.param(
            f'{IN_TOPIC}format = "cbor"\n',
            b"\xa1aa\xfb?\xf8\0\0\0\0\0\0",
            "7",
            (1.5, None, None),
            False,
            id="cbor",
        ),
    ],
)
def test_a_payload_is_a_reading(
    keys: str,
    payload: str | bytes,
    device: str,
    values: tuple[object, ...],
    is_dated: bool,
    tmp_path: Path,
) -> None:
    found = parsed(tmp_path, keys, payload)
    assert isinstance(found, Reading), found
    assert (found.device_id, found.values) == (device, values)
    assert found.timestamp == (MOMENT if is_dated else RECEIVED)


@pytest.mark.parametrize(
    ("wanted", "right", "wrong"),
    [('"5"', "5", "5.0"), ("5", " 5.0", "6"), ("5", "5", "five"), ("true", "True", "1")],
)
def test_words_of_csv_mean_what_only_asks_for(
    wanted: str, right: str, wrong: str, tmp_path: Path
) -> None:
    columns = '["kind", "a", "s", "n"]'
    keys = f'{IN_TOPIC}format = "csv"\ncolumns = {columns}\nonly = {{ kind = {wanted} }}\n'
    assert isinstance(parsed(tmp_path, keys, f"{right},1"), Reading)
    assert isinstance(parsed(tmp_path, keys, f"{wrong},1"), Ignored)


@pytest.mark.parametrize(
    ("keys", "payload", "reason", "device"),
    [
        (CSV, "1,2,3,4,5", "invalid_csv", "7"),
        (METERS, "meter;a\n0815;x", "not_a_number", "0815"),
        (INFLUX, "m a", "invalid_influx", None),
        (SENML, '[{"bn":"d:","n":"other","v":1}]', "missing_field", "d"),
        (SENML, "[1]", "invalid_senml", None),
        (SENML, '[{"n":"a","v":1}]', "missing_device", None),
        (SENML.replace("#", "{device_id}"), '[{"bn":"d:","n":"a","v":1}]', "device_mismatch", "7"),
        (f'{IN_TOPIC}format = "msgpack"\n', '{"a":1}', "invalid_msgpack", "7"),
        (f'{IN_TOPIC}format = "msgpack"\n', b"\1", "not_an_object", "7"),
        (f'{IN_TOPIC}format = "cbor"\n', "{", "invalid_cbor", "7"),
    ],
)
def test_a_payload_is_set_aside_in_the_name_of_its_sender(
    keys: str, payload: str | bytes, reason: str, device: str | None, tmp_path: Path
) -> None:
    found = parsed(tmp_path, keys, payload)
    assert isinstance(found, Rejection), found
    assert (found.reason, found.device_id) == (reason, device)


@pytest.mark.parametrize(
    "keys", [CSV, INFLUX, IN_TOPIC + 'format = "msgpack"\n', IN_TOPIC + 'unpack = "deflate"\n']
)
def test_over_http_a_reading_is_json(keys: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        keys.replace('["tags.host", "tags.cpu"]', '"tags.host"') + METRICS
    )
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    given = Message("x/7", b'{"a":1.5,"n":9007199254740993,"tags":{"host":"7"}}', RECEIVED)
    found = Parser(streams).parse_for(streams["x"], given, None if "tags" in keys else "7", None)
    assert isinstance(found, Reading), found
    assert (found.device_id, found.values) == ("7", (1.5, None, 2**53 + 1))


def test_a_wrong_line_does_not_sink_the_others(tmp_path: Path) -> None:
    found = parsed(tmp_path, CSV, "1,on,2,\n1,on,2,3,4\nx,on,3,\n")
    assert isinstance(found, Several)
    assert [one.values for one in found.readings] == [(1.0, "on", 2), (None, "on", 3)]
    assert [one.text for one in found.rejections] == ["line 2: 5 cells, but there are 4 columns"]
