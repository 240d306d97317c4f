"""Parsing: payloads with several readings, and where each of them comes from."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from ingest.json_payloads import MAX_READINGS
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from ingest.several import set_aside
from streams.declaration import load
from streams.registry import Streams
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

T1, T2 = datetime(2025, 9, 29, 16, 27, 50), datetime(2025, 9, 29, 16, 28)
TOPIC = 'topic = "x/{device_id}"\n'
A = "[metrics]\na = {}\n"
ARRAY = f'{TOPIC}explode = "readings"\n{A}'
KEYED = f'topic = "x/{{gateway}}"\nexplode = "*"\ndevice = "{{key}}"\n{A}'
PAIRS = f'{TOPIC}pairs = {{ in = "vals", name = "id", value = "val", time = "ts" }}\n{A}b = {{}}\n'
BARE_PAIRS = f'{TOPIC}pairs = {{ name = "[0]", value = "[1]" }}\n{A}b = {{}}\n'


def declared(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


def parsed(folder: Path, text: str, payload: str, topic: str = "x/d1") -> Parsed:
    return Parser(declared(folder, text)).parse(Message(topic, payload.encode(), RECEIVED))


def told(reading: Reading) -> tuple[Any, ...]:
    values = reading.values
    return (reading.device_id, values if len(values) > 1 else values[0], reading.timestamp)


def readings(found: Parsed) -> list[tuple[Any, ...]]:
    assert isinstance(found, Reading | Several), found
    return [told(one) for one in (found.readings if isinstance(found, Several) else [found])]


CASES = [
    pytest.param(
        TOPIC + A, '[{"a":1},{"a":2}]', [("d1", 1.0), ("d1", 2.0)], id="an array at the top"
    ),
    pytest.param(TOPIC + A, '[{"a":1}]', [("d1", 1.0)], id="an array of one"),
    pytest.param(
        f'{TOPIC}[metrics]\na = "[1].v"\n',
        '[{"v":1},{"v":2}]',
        [("d1", 2.0)],
        id="an array in which paths begin is one reading",
    ),
    pytest.param(
        f'{TOPIC}[metrics]\na = "[1]"\n', "[7,8]", [("d1", 8.0)], id="an array of numbers"
    ),
    pytest.param(ARRAY, '{"readings":[{"a":1},{"a":2}]}', [("d1", 1.0), ("d1", 2.0)], id="explode"),
    pytest.param(ARRAY, '{"readings":{"k":{"a":1}}}', [("d1", 1.0)], id="an object explodes too"),
    pytest.param(
        ARRAY,
        '[{"readings":[{"a":1}]},{"readings":[{"a":2},{"a":3}]}]',
        [("d1", 1.0), ("d1", 2.0), ("d1", 3.0)],
        id="each element of an array at the top explodes",
    ),
    pytest.param(
        f'{TOPIC}explode = "r"\nvalues = "v"\n{A}b = "$.top"\n',
        '{"r":[{"v":{"a":1}},{"v":{"a":2}}],"top":9}',
        [("d1", (1.0, 9.0)), ("d1", (2.0, 9.0))],
        id="values within a member, $. at the top",
    ),
    pytest.param(
        f'{TOPIC}explode = "r"\n[metrics]\na = "value"\n',
        '{"r":[21.5,22]}',
        [("d1", 21.5), ("d1", 22.0)],
        id="members that are values",
    ),
    pytest.param(
        KEYED, '{"m1":{"a":1},"m2":{"a":2}}', [("m1", 1.0), ("m2", 2.0)], id="keys are devices"
    ),
    pytest.param(
        KEYED,
        '{"m1":[{"a":1},{"a":2}],"m2":[{"a":3}]}',
        [("m1", 1.0), ("m1", 2.0), ("m2", 3.0)],
        id="arrays under keys",
    ),
    pytest.param(
        KEYED.replace('"{key}"', '["{gateway}", "{key}", "ch"]'),
        '{"m1":{"a":1,"ch":0},"m2":{"a":2}}',
        [("d1-m1-0", 1.0), ("d1-m2", 2.0)],
        id="a device of the topic, the key and a field",
    ),
    pytest.param(
        f'{TOPIC}explode = ["h.time", "h.rain"]\n[metrics]\na = "rain"\n[timestamp]\nfield = "time"\n',
        '{"h":{"time":[1759163270,1759163280],"rain":[0.5,1.5]}}',
        [("d1", 0.5, T1), ("d1", 1.5, T2)],
        id="arrays that belong together",
    ),
    pytest.param(
        f'{TOPIC}explode = "r"\n{A}[timestamp]\nfield = "$.at"\n',
        '{"at":1759163270,"r":[{"a":1},{"a":2}]}',
        [("d1", 1.0, T1), ("d1", 2.0, T1)],
        id="the time of the payload",
    ),
    pytest.param(
        PAIRS,
        '{"vals":[{"id":"a","val":1,"ts":1759163270},{"id":"b","val":2,"ts":1759163270}]}',
        [("d1", (1.0, 2.0), T1)],
        id="pairs",
    ),
    pytest.param(
        PAIRS,
        '{"vals":[{"id":"a","val":1,"ts":1759163270},{"id":"a","val":2,"ts":1759163280}]}',
        [("d1", (1.0, None), T1), ("d1", (2.0, None), T2)],
        id="pairs of two times",
    ),
    pytest.param(
        PAIRS, '{"vals":[{"id":"a","val":1}],"b":5}', [("d1", (1.0, 5.0))], id="pairs beside fields"
    ),
    pytest.param(
        BARE_PAIRS,
        '[["a",1],["b",2],["a",3]]',
        [("d1", (1.0, 2.0)), ("d1", (3.0, None))],
        id="a name that comes again",
    ),
    pytest.param(BARE_PAIRS, '[["a",1],["b",2]]', [("d1", (1.0, 2.0))], id="pairs that are arrays"),
    pytest.param(
        f'topic = "x/{{device_id}}/{{metric}}"\n{A}',
        '[{"value":1},{"value":2}]',
        [("d1", 1.0), ("d1", 2.0)],
        id="an array on the topic of one metric",
    ),
]


@pytest.mark.parametrize(("text", "payload", "expected"), CASES)
def test_a_payload_has_the_readings(
    text: str, payload: str, expected: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    topic = "x/d1/a" if "{metric}" in text else "x/d1"
    found = readings(parsed(tmp_path, text, payload, topic))
    assert found == [(*one, RECEIVED)[:3] if len(one) == 2 else one for one in expected]


FAULTS = [
    pytest.param(TOPIC + A, '[{"a":1},{"a":"x"}]', '[1].a: not a number: "x"', id="of an array at the top"),
    pytest.param(TOPIC + A, '[{"a":1},5]', "[1]: expected a JSON object, not 5", id="a number among objects"),
    pytest.param(
        ARRAY, '{"readings":[{"a":1},{"a":2},{"b":3}]}',
        "readings[2]: the payload has none of the metrics: a", id="nothing in a member",
    ),
    pytest.param(
        ARRAY, '{"readings":[{"a":"x"},{"a":2},{"a":"y"},{"a":"z"}]}',
        'readings[0].a: not a number: "x"; 2 more readings were rejected', id="several members",
    ),
    pytest.param(ARRAY, '{"a":1}', "readings: no readings", id="nothing to explode"),
    pytest.param(ARRAY, '{"readings":[]}', "readings: no readings", id="an empty array"),
    pytest.param(
        ARRAY, '{"readings":5}', "readings: expected an array or an object, not 5", id="a number explodes"
    ),
    pytest.param(KEYED, '{"m 1":{"a":"x"}}', 'm 1.a: not a number: "x"', id="in an object"),
    pytest.param(KEYED, '[{"a":1}]', "[0].{key}: missing, and nothing else names the device", id="no key"),
    pytest.param(PAIRS, '{"vals":5}', "vals: expected an array of names and values, not 5", id="pairs: no array"),
    pytest.param(PAIRS, "{}", "vals: no names and values", id="no pairs"),
    pytest.param(
        f'{TOPIC}explode = "r"\npairs = {{ in = "v", name = "n", value = "x" }}\n{A}',
        '{"r":[{"v":[{"n":"a","x":1}]},{"v":[{"n":"a","x":"?"}]},{"v":7}]}',
        'r[1].v[0].a: not a number: "?"; 1 more reading was rejected', id="pairs in a member",
    ),
    pytest.param(
        f'{TOPIC}explode = "m"\n{A}', '[{"m":[{"a":1}]},{"m":7}]',
        "[1].m: expected an array or an object, not 7", id="in an element at the top",
    ),
    pytest.param(
        f'{TOPIC}explode = "r"\npairs = {{ in = "$.p", name = "n", value = "v" }}\n{A}',
        f'{{"r":[{",".join(["{}"] * 1_000)}],"p":[{",".join(["{}"] * 1_000)}]}}',
        "more than 100000 names and values in its readings", id="the same pairs again and again",
    ),
    pytest.param(
        PAIRS, f'{{{",".join(f"{chr(34)}k{i}{chr(34)}:1" for i in range(2_000))},"vals":[{",".join(["{}"] * 1_000)}]}}',
        "1000 names and values beside 2001 fields; at most 10000, or 1000000 of their product",
        id="many fields beside pairs with times",
    ),
    pytest.param(KEYED, '{"":{"a":1}}', '"".{key}: empty', id="an empty key"),
    pytest.param(
        ARRAY, f'{{"readings":[{",".join(["{}"] * (MAX_READINGS + 1))}]}}',
        "10001 readings; at most 10000 are allowed in a message", id="too many",
    ),
    pytest.param(
        ARRAY, f'{{"readings":[{{"a":1}}],"x":"{"a" * 1_000_000}"}}',
        "1000029 bytes; at most 1000000 are allowed", id="too large",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "payload", "expected"), FAULTS)
def test_an_error_names_its_place(text: str, payload: str, expected: str, tmp_path: Path) -> None:
    found = parsed(tmp_path, text, payload)
    if isinstance(found, Several):
        found = set_aside(found.message, found.rejections)
    assert isinstance(found, Rejection)
    assert found.text == expected


def test_the_neighbours_of_a_wrong_reading_are_kept(tmp_path: Path) -> None:
    found = parsed(tmp_path, ARRAY, '{"readings":[{"a":1},{"a":"x"},{"a":3}]}')
    assert isinstance(found, Several)
    assert [(one.index, one.values) for one in found.readings] == [(0, (1.0,)), (2, (3.0,))]
    assert [one.text for one in found.rejections] == ['readings[1].a: not a number: "x"']


def test_a_pair_without_a_name_is_left_out_and_told(tmp_path: Path) -> None:
    found = parsed(tmp_path, PAIRS, '{"vals":[{"val":1},{"id":"b","val":2}]}')
    assert isinstance(found, Reading)
    assert found.values == (None, 2.0)
    assert found.unread == ("vals[0].id: expected a name, not nothing",)


@pytest.mark.parametrize(
    "payload", ["{}", '{"readings":[]}', '{"readings":null}', '{"readings":[{}]}']
)
def test_a_message_without_readings_is_ignored_where_the_stream_says_so(
    payload: str, tmp_path: Path
) -> None:
    found = parsed(tmp_path, f'empty = "ignore"\n{ARRAY}', payload)
    assert isinstance(found, Ignored)
    assert found.reason == "no_values"


def test_members_without_a_time_are_told_apart(tmp_path: Path) -> None:
    found = parsed(tmp_path, TOPIC + A, '[{"a":1},{"a":1}]')
    assert isinstance(found, Several)
    assert len({one.delivery() for one in found.readings}) == 2
    assert [one.delivery() for one in found.readings] == [one.delivery() for one in found.readings]
