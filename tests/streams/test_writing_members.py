"""Readings are read back the same from arrays, objects and pairs, with what is around them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.payload import Parser
from streams.declaration import load
from streams.metric import Value
from streams.registry import Streams
from streams.stream import Stream
from streams.writing import PayloadWriter
from tests.support import DEVICE_TOPICS
from tests.written import any_value, read_back
from utils.clock import parse

TEXT = "2026-01-29T14:30:45.123456Z"
TIME = parse(TEXT)
DEVICE = "x/{device_id}"
KEYED = 'topic = "x/{gateway}"\ndevice = "{key}"\nexplode = "*"\n'
METRICS = """
[metrics]
a = {}
b = { type = "integer" }
c = { type = "boolean" }
d = { type = "text" }
"""
VALUES: dict[str, Value] = {"a": 1.5, "b": 2, "c": True, "d": "x"}
ALL = {**VALUES, "e": 3.0}
MEMBER = {"timestamp": TEXT, "a": 1.5, "b": 2, "c": True, "d": "x"}
PAIRS: list[list[Value]] = [["a", 1.5], ["b", 2], ["c", True], ["d", "x"]]
OBJECTS = [{"id": name, "val": value} for name, value in PAIRS]

SHAPES: list[Any] = [
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "body.readings"\n{METRICS}',
        {"body": {"readings": [MEMBER]}},
        id="a member of an array",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "*"\n{METRICS}', [MEMBER], id="an array at the top"
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "[0]"\n{METRICS}', [[MEMBER]], id="an array in an array"
    ),
    pytest.param(f"{KEYED}{METRICS}", {"M7": MEMBER}, id="a member with its key"),
    pytest.param(
        'topic = "x/{gateway}"\nexplode = "meters"\ndevice = ["{gateway}", "{key}"]\n' + METRICS,
        {"meters": {"7": MEMBER}},
        id="a key that is a part of the device id",
    ),
    pytest.param(
        f'{KEYED}values = "values"\n[timestamp]\nfield = "ts"\nformat = "us"\n{METRICS}',
        {"M7": {"ts": 1769697045123456, "values": VALUES}},
        id="values in a member",
    ),
    pytest.param(
        'topic = "x/data"\nexplode = "r"\ndevice = "info.id"\nonly = { kind = "data" }\n' + METRICS,
        {"r": [{"info": {"id": "M7"}, "kind": "data"} | MEMBER]},
        id="the device and a condition in a member",
    ),
    pytest.param(
        'topic = "x/data"\nexplode = "r"\ndevice = "$.id"\nonly = { "$.kind" = 1 }\n'
        f'[timestamp]\nfield = "$.head.time"\n{METRICS}e = "$.r_fw"\n',
        {
            "r": [VALUES],
            "id": "M7",
            "kind": 1,
            "head": {"time": TEXT},
            "r_fw": 3.0,
        },
        id="the device, a condition, the time and a value of the payload",
    ),
    pytest.param(
        f'{KEYED}empty = "ignore"\n[timestamp]\nfield = "$.time"\n{METRICS}',
        {"M7": VALUES, "time": TEXT},
        id="a time beside the members that has no value",
    ),
    pytest.param(
        f'{KEYED}only = {{ kind = 1 }}\n{METRICS}e = "$.fw"\n',
        {"M7": {**MEMBER, "kind": 1}, "fw": 3.0},
        id="a value beside the members that does not meet their condition",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "*"\nempty = "ignore"\n'
        f'[timestamp]\nfield = "$.time"\n{METRICS}',
        {"reading": VALUES, "time": TEXT},
        id="a time beside a member whose key means nothing",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "r"\nvalues = "$.all"\n{METRICS}',
        {"r": [{"timestamp": TEXT}], "all": VALUES},
        id="values of the payload",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "r"\n[timestamp]\nfield = "$.time"\n'
        '[metrics]\na = "[1]"\nb = { path = "[0]", type = "integer" }\n',
        {"r": [[2, 1.5]], "time": TEXT},
        id="a member that is an array",
    ),
    pytest.param(
        'topic = "x/{gateway}"\nexplode = "r"\ndevice = "{key}"\n'
        '[timestamp]\nfield = "$.time"\n[metrics]\na = "value"\n',
        {"r": {"M7": 1.5}, "time": TEXT},
        id="a member that is a number",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = ["h.t", "h.a", "b", "h.c", "h.d"]\n'
        f'[timestamp]\nfield = "t"\n{METRICS}e = "$.fw"\n',
        {"h": {"t": [TEXT], "a": [1.5], "c": [True], "d": ["x"]}, "b": [2], "fw": 3.0},
        id="arrays that belong together",
    ),
    pytest.param(
        'topic = "x/data"\ndevice = "ids"\nexplode = ["ids", "r"]\nvalues = "r"\n'
        f'[timestamp]\nfield = "$.time"\n{METRICS}',
        {"ids": ["M7"], "r": [VALUES], "time": TEXT},
        id="arrays of devices and of values",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\npairs = {{ in = "vals", name = "id", value = "val" }}\n{METRICS}',
        {"vals": OBJECTS, "timestamp": TEXT},
        id="pairs beside a time",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\n[timestamp]\nformat = "us"\n'
        f'[pairs]\nin = "vals"\nname = "id"\nvalue = "val"\ntime = "at"\n{METRICS}',
        {"vals": [{**pair, "at": 1769697045123456} for pair in OBJECTS]},
        id="pairs with a time",
    ),
    pytest.param(
        'topic = "x/data"\ndevice = "id"\nonly = { k = 1 }\n'
        f'pairs = {{ name = "[0]", value = "[1]" }}\n{METRICS}',
        [["id", "M7"], ["timestamp", TEXT], ["k", 1], *PAIRS],
        id="pairs at the top, with all fields",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "r"\n[timestamp]\nfield = "$.time"\n'
        f'[pairs]\nin = "vals"\nname = "id"\nvalue = "val"\n{METRICS}e = "$.fw"\n',
        {"r": [{"vals": OBJECTS}], "time": TEXT, "fw": 3.0},
        id="pairs in a member",
    ),
    pytest.param(
        f'{KEYED}[pairs]\nname = "[0]"\nvalue = "[1]"\ntime = "[2]"\n{METRICS}',
        {"M7": [[*pair, TEXT] for pair in PAIRS]},
        id="members that are pairs",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\nexplode = "r"\n[pairs]\nin = "$.vals"\nname = "id"\nvalue = "val"\n'
        f"{METRICS}",
        {"r": [{"timestamp": TEXT}], "vals": OBJECTS},
        id="pairs beside the members",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\npairs = {{ in = "v", name = "n.id", value = "n.v" }}\n'
        '[metrics]\na = { path = "pump.a", scale = 0.1 }\n'
        'b = { path = "pos", split = ",", item = 0 }\ne = { path = "pos", split = ",", item = 1 }\n',
        {
            "v": [
                {"n": {"id": "pump.a", "v": 15}},
                {"n": {"id": "pos", "v": "2,3.0"}},
            ],
            "timestamp": TEXT,
        },
        id="pairs with names that are paths, and one for two metrics",
    ),
    pytest.param(
        f'topic = "{DEVICE}"\n[metrics]\na = "[1]"\n[timestamp]\nfield = "[0]"\n',
        [TEXT, 1.5],
        id="an array of a time and a number",
    ),
]


def declared(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


def device_of(stream: Stream) -> str:
    return "gateway-7" if len(stream.device_parts) > 1 else "M7"


@pytest.mark.parametrize(("text", "payload"), SHAPES)
def test_a_payload_has_the_shape_of(text: str, payload: Any, tmp_path: Path) -> None:
    stream = declared(tmp_path, text)["x"]
    named = device_of(stream) if stream.is_named_by_payload else None
    values = {metric.name: ALL[metric.name] for metric in stream.metrics}
    assert PayloadWriter(stream).payload(values, TIME, named) == payload


@pytest.mark.parametrize("text", [pytest.param(one.values[0], id=one.id) for one in SHAPES])
def test_what_is_written_is_read_back_from(text: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, text)
    stream, parser = streams["x"], Parser(streams)
    writer, device = PayloadWriter(stream), device_of(stream)
    named = device if stream.is_named_by_payload else None
    values = st.fixed_dictionaries({metric.name: any_value(metric) for metric in stream.metrics})
    times = st.datetimes(parse("2021-01-01T00:00:00Z"), TIME)

    @settings(deadline=None)
    @given(values, times)
    def check(given: dict[str, Value], time: Any) -> None:
        payload = writer.payload(given, time, named)
        found = read_back(parser, stream.topic_of(device), payload)
        names = [metric.name for metric in stream.metrics]
        assert dict(zip(names, found.values, strict=True)) == given
        assert (found.device_id, found.timestamp) == (device, time)
        assert (found.own_time, found.unread) == (True, ())

    check()
