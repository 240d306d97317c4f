"""Readings that are written are read back the same, or the stream cannot be simulated."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ingest.payload import Parser
from ingest.read_back import unwritable
from streams.checks import StreamError
from streams.declaration import load
from streams.metric import Value
from streams.registry import Streams
from streams.stream import Stream
from streams.writing import PayloadWriter
from tests.support import DEVICE_TOPICS
from tests.written import any_value, read_back

A = "[metrics]\na = {}\n"
DEVICE = 'topic = "x/{device_id}"\n'
KEYED = 'topic = "x/{gateway}"\ndevice = "{key}"\nexplode = "*"\n'
ZIP = f'{DEVICE}explode = ["h.time", "h.a"]\n'


def declared(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS, unwritable=unwritable)


TWO = "what is written is read as 2 readings"
REJECTED = "what is written is rejected: "
CASES = [
    (f'{DEVICE}explode = "$.r"\n[timestamp]\nfield = "$.r.time"\n{A}', TWO),
    (f'{KEYED}[metrics]\na = "$.fw"\nb = {{}}\n', TWO),
    (f'{KEYED}empty = "ignore"\n[timestamp]\nfield = "$.time"\n[metrics]\na = "value"\n', TWO),
    (
        f'{ZIP}[metrics]\na = {{}}\nb = "$.h.a.b"\n',
        f'{REJECTED}h.time: expected an array, not {{"reading":null}}',
    ),
    (
        f'{DEVICE}explode = "r"\n[metrics]\na = "[0].a"\n',
        f"{REJECTED}r[0][0]: the payload has none of the metrics: a",
    ),
    (
        'topic = "x"\ndevice = "id"\n[metrics]\na = "[1]"\n',
        f"{REJECTED}id: missing, and nothing else names the device",
    ),
    (
        f'{DEVICE}pairs = {{ in = "r", name = "$.id", value = "v" }}\n{A}',
        f"{REJECTED}r[0].id: expected a name, not nothing",
    ),
    (f'{DEVICE}values = "v"\n[metrics]\na = "$.fw"\n', f"{REJECTED}v: missing"),
    (f"{DEVICE}only = {{ a = 1 }}\n{A}", "what is written is ignored: only"),
    (f'{DEVICE}[metrics]\na = "v"\nb = "v"\n', "a is 2.5, and is read as 3.5"),
    (f'{DEVICE}[metrics]\na = "b"\nc = "b.c"\n', "b.c is in the place of another field"),
    (f'{DEVICE}[metrics]\na = "b.a"\nc = "b[0]"\n', "b.0 is in the place of another field"),
    (f'{DEVICE}[metrics]\na = "[1]"\nb = {{}}\n', "b is in the place of another field"),
    (
        'topic = "x/{device_id}/{metric}"\n[metrics]\na = "[1]"\n',
        "1 is in the place of another field",
    ),
    (
        f'{ZIP}only = {{ k = 1 }}\npairs = {{ in = "$.vals", name = "id", value = "v" }}\n{A}',
        "no array for k; expected time, a, or paths from $.",
    ),
]


@pytest.mark.parametrize(("text", "reason"), CASES)
def test_a_stream_that_cannot_be_written_is_used_unless_it_is_to_be_simulated(
    text: str, reason: str, tmp_path: Path
) -> None:
    stream = declared(tmp_path, text)["x"]
    assert unwritable(stream) == reason
    with pytest.raises(StreamError) as caught:
        declared(tmp_path, f"{text}[simulate]\ninterval = 2\n")
    expected = f"simulate: expected nothing, because payloads cannot be written: {reason}"
    assert str(caught.value) == f"{tmp_path}/x.toml: {expected}"


NAMES = st.sampled_from(["a", "b", "c", "value"])
INDEXES = st.sampled_from(["[0]", "[1]"])


@st.composite
def paths(draw: st.DrawFn, most: int = 3) -> str:
    keys = draw(st.lists(NAMES | NAMES | INDEXES, min_size=1, max_size=most))
    top = draw(st.sampled_from(["", "", "", "$."]))
    return top + ".".join(keys).replace(".[", "[")


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


KEYS: list[dict[str, Any]] = [
    {},
    {"type": "integer"},
    {"type": "text"},
    {"type": "boolean"},
    {"required": True},
    {"split": ",", "item": 0},
    {"split": ",", "item": 1},
    {"item": 1},
    {"scale": 0.1},
    {"map": {"open": 1, "shut": 0}},
    {"bytes": {"at": 0, "as": "i16"}},
    {"bytes": {"at": 2, "as": "i16"}},
]
PATHS = paths() | st.lists(paths(), min_size=1, max_size=2)
METRIC = st.builds(lambda path, keys: {"path": path, **keys}, PATHS, st.sampled_from(KEYS))
DECLARATION = st.fixed_dictionaries(
    {"metrics": st.dictionaries(st.sampled_from(["a", "m", "value"]), METRIC, min_size=1)},
    optional={
        "explode": st.just("*") | paths(2) | st.lists(paths(2), min_size=2, max_size=2),
        "pairs": st.fixed_dictionaries(
            {"name": paths(1), "value": paths(1)}, optional={"in": paths(2), "time": paths(1)}
        ),
        "values": paths(1),
        "device": paths(2)
        | st.sampled_from([["a", "b"], ["{gw}", "{key}"], ["{gw}", "a"], "{key}"]),
        "only": st.dictionaries(paths(2), st.sampled_from([1, "on", True]), max_size=1),
        "empty": st.just("ignore"),
        "timestamp": st.fixed_dictionaries(
            {"field": paths(2) | st.tuples(paths(1), paths(1)).map(list)},
            optional={"zone": st.just("+07:00")},
        ),
    },
)


def toml(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def text_of(declaration: dict[str, Any]) -> str:
    topic = "x/{gw}" if "device" in declaration else "x/{device_id}"
    lines = [f"{key} = {toml(value)}" for key, value in {"topic": topic, **declaration}.items()]
    return "\n".join(lines)


TIMES = st.datetimes(datetime(2021, 1, 1), datetime(2026, 1, 29))


@given(DECLARATION, st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_of_any_declaration_what_can_be_written_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, declaration: dict[str, Any], data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "declared"
    folder.mkdir(exist_ok=True)
    try:
        streams = declared(folder, text_of(declaration))
    except StreamError:
        return
    stream = streams["x"]
    reason = unwritable(stream)
    event("cannot be written" if reason else "can be written")
    if not reason:
        _check(streams, stream, data)


def _check(streams: Streams, stream: Stream, data: st.DataObject) -> None:
    writer, device = PayloadWriter(stream), "-".join("gA"[: max(1, len(stream.device_parts))])
    named = device if stream.is_named_by_payload else None
    values: dict[str, Value] = {
        metric.name: data.draw(any_value(metric), metric.name) for metric in stream.metrics
    }
    time = writer.time.representable(data.draw(TIMES))
    found = read_back(Parser(streams), stream.topic_of(device), writer.payload(values, time, named))
    names = [metric.name for metric in stream.metrics]
    assert dict(zip(names, found.values, strict=True)) == values
    assert found.device_id == device
    assert found.timestamp == time or not writer.has_time
