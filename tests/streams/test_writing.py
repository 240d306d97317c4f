"""What simulated devices write is read back the same, in every shape of payload."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.message import Message
from ingest.message import Reading
from ingest.payload import Parser
from streams import writing
from streams.declaration import load
from streams.metric import Metric, Value
from streams.registry import Streams
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from utils.clock import parse

TEXT = "2026-01-29T14:30:45.123456Z"
TIME = parse(TEXT)
SHAPES = {
    "flat": """
topic = "flat/{device_id}"
[metrics]
a = {}
b = { type = "integer" }
c = { type = "boolean" }
d = { type = "text" }
""",
    "nested": """
topic = "nested/data"
device = "device.id"
values = "body.readings"
only = { kind = "data", "body.version" = 2 }
[timestamp]
field = "meta[0].time"
[metrics]
a = "deep.er[1].value"
b = { path = ["first", "second"], type = "integer" }
c = { path = "$.switch.on", type = "boolean" }
d = { path = '"quoted.name"', type = "text" }
""",
    "reshaped": """
topic = "reshaped/{device_id}"
[metrics]
a = { scale = 0.1, offset = -40 }
b = { base = 16, type = "integer" }
c = { type = "boolean", map = { open = true, closed = false } }
d = { type = "text", map = { "1" = "running", "2" = "stopped" } }
e = { path = "data", bytes = { at = 1, as = "i16" }, scale = 0.01 }
f = { path = "data", bytes = { at = 4, as = "u8" } }
g = { path = "more", bytes = { at = 0, as = "f32le", from = "base64" } }
""",
    "pieces": """
topic = "pieces/{site}/{device_id}"
[metrics]
a = { path = "position", split = ",", item = 0 }
b = { path = "position", split = ",", item = 1, type = "integer" }
c = { path = "list", item = 2, type = "boolean" }
d = { path = "words", split = ";", item = -1, type = "text" }
""",
}


def streams_of(folder: Path) -> Streams:
    for name, text in SHAPES.items():
        (folder / f"{name}.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


def any_value(metric: Metric) -> st.SearchStrategy[Value]:
    """Any value that a payload can have for a metric."""
    if metric.map:
        return st.sampled_from(list(metric.map.values()))
    match metric.type:
        case "number":
            numbers = st.floats(-1e6, 1e6).map(lambda number: round(number, 3) + 0.0)
            return numbers.map(lambda number: writing.representable(metric, number))
        case "integer":
            return st.integers(-(2**53), 2**53).map(lambda n: writing.representable(metric, n))
        case "boolean":
            return st.booleans()
        case "text":
            return st.sampled_from(["running", "3", "true", "ä", "two words"])


def read_back(parser: Parser, topic: str, payload: Mapping[str, Any]) -> Reading:
    text = json.dumps(payload, ensure_ascii=False)
    found = parser.parse(Message(topic, text.encode(), RECEIVED))
    assert isinstance(found, Reading), (text, found)
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    streams = streams_of(tmp_path)
    stream, parser = streams[name], Parser(streams)
    named = None if stream.is_named_by_topic else "M7"
    values = st.fixed_dictionaries({metric.name: any_value(metric) for metric in stream.metrics})

    @settings(deadline=None)
    @given(values)
    def check(given: dict[str, Value]) -> None:
        payload = writing.payload(stream, given, TIME, named)
        found = read_back(parser, stream.topic_of("M7"), payload)
        names = [metric.name for metric in stream.metrics]
        assert dict(zip(names, found.values, strict=True)) == given
        assert found.unread == ()
        assert (found.device_id, found.own_time) == ("M7", True)

    check()


def test_a_payload_has_the_shape_that_is_declared(tmp_path: Path) -> None:
    values: dict[str, Value] = {"a": 1.5, "b": 2, "c": True, "d": "x"}
    streams = streams_of(tmp_path)
    assert writing.payload(streams["nested"], values, TIME, "M7") == {
        "device": {"id": "M7"},
        "meta": [{"time": TEXT}],
        "kind": "data",
        "body": {
            "version": 2,
            "readings": {
                "deep": {"er": [None, {"value": 1.5}]},
                "first": 2,
                "quoted.name": "x",
            },
        },
        "switch": {"on": True},
    }
    assert writing.payload(streams["pieces"], values, TIME, None) == {
        "timestamp": TEXT,
        "position": "1.5,2",
        "list": [None, None, True],
        "words": "x",
    }
