"""Fields that no payload can have stop their stream at the start, and those that one can have do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.payload import Parser
from streams.checks import StreamError
from streams.declaration import load
from streams.registry import Streams
from streams.writing import PayloadWriter
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from tests.written import read_back

TOPIC = 'topic = "x/{device_id}"\n'
A = "[metrics]\na = {}\n"
LIST = f'{TOPIC}pairs = {{ name = "id", value = "v" }}\n'
VALS = f'{TOPIC}pairs = {{ in = "vals", name = "id", value = "v" }}\n'
ZIP = f'{TOPIC}explode = ["h.time", "h.a"]\n'
MEMBERS = f'{TOPIC}explode = "*"\n'
KEYED = 'topic = "x/{gateway}"\ndevice = "{key}"\nexplode = "*"\n'
NO_NAME = "expected no path from $. that begins with a name, because payloads are arrays"
NO_INDEX = "expected no path from $. that begins with an index, because payloads are objects"
NO_ARRAY = "expected one of time, a, or a path from $."


def declared(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


FAULTS = [
    (f'{LIST}[metrics]\na = "$.fw"\n', f"metrics.a.path: {NO_NAME}"),
    (f'{LIST}[timestamp]\nfield = "$.time"\n{A}', f"timestamp.field: {NO_NAME}"),
    (f'{LIST}only = {{ "$.k" = 1 }}\n{A}', f"only: {NO_NAME}"),
    (
        f'topic = "x"\ndevice = "$.id"\npairs = {{ name = "id", value = "v" }}\n{A}',
        f"device: {NO_NAME}",
    ),
    (f'{TOPIC}explode = "[0]"\n[metrics]\na = "$.fw"\n', f"metrics.a.path: {NO_NAME}"),
    (f'{TOPIC}explode = "r"\n[metrics]\na = "$.[0]"\n', f"metrics.a.path: {NO_INDEX}"),
    (f'{VALS}[metrics]\na = "$.[0]"\n', f"metrics.a.path: {NO_INDEX}"),
    (f'{VALS}[metrics]\na = "[0]"\n', "metrics.a.path: expected the name of a pair, not an index"),
    (f"{ZIP}{A}b = {{}}\n", f"metrics.b.path: {NO_ARRAY}"),
    (f'{ZIP}[metrics]\na = {{ path = ["b", "c"] }}\n', f"metrics.a.path: {NO_ARRAY}"),
    (f"{ZIP}only = {{ k = 1 }}\n{A}", f"only: {NO_ARRAY}"),
    (f'{ZIP}values = "v"\n{A}', f"values: {NO_ARRAY}"),
    (f'{ZIP}[timestamp]\nfield = "t"\n{A}', f"timestamp.field: {NO_ARRAY}"),
    (f"{ZIP}[timestamp]\nrequired = true\n{A}", f"timestamp.field: {NO_ARRAY}"),
    (
        f'topic = "x"\ndevice = "id"\nexplode = ["time", "a"]\n{A}',
        f"device: {NO_ARRAY}",
    ),
    (
        f'topic = "x"\ndevice = "{{key}}"\nexplode = ["time", "a"]\n{A}',
        "device: expected a path, because several arrays have no {key}",
    ),
    (f'{ZIP}pairs = {{ in = "v", name = "id", value = "v" }}\n{A}', f"pairs.in: {NO_ARRAY}"),
    (
        f'{MEMBERS}pairs = {{ name = "id", value = "v" }}\n{A}',
        "pairs.in: expected the path of the array of pairs in each reading",
    ),
    (
        f'{TOPIC}pairs = {{ name = "id", value = "[1]" }}\n{A}',
        "pairs.value: expected a path that begins with a name, as that of pairs.name",
    ),
    (
        f'{TOPIC}pairs = {{ name = "[0]", value = "[1]", time = "t" }}\n{A}',
        "pairs.time: expected a path that begins with an index, as that of pairs.name",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_what_can_never_be_read_is_a_fault(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StreamError) as caught:
        declared(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/x.toml: {message}"


READABLE = [
    (f'{KEYED}[metrics]\na = "$.m.a"\n', {"m": {"a": 1.0}}, "m"),
    (f'{MEMBERS}[metrics]\na = "$.[0].a"\n', [{"a": 1.0}], "d1"),
    (f'{LIST}[metrics]\na = "$.[0].v"\n', [{"id": "b", "v": 1.0}], "d1"),
    (f'{ZIP}[metrics]\na = {{ path = ["b", "a"] }}\n', {"h": {"a": [1.0]}}, "d1"),
    (f"{ZIP}{A}", {"h": {"a": [1.0]}}, "d1"),
    (f'{ZIP}values = "a"\n[metrics]\na = "b"\n', {"h": {"a": [{"b": 1.0}]}}, "d1"),
    (
        'topic = "x/{device_id}"\ndevice = "id"\nexplode = ["t", "a"]\n' + A,
        {"a": [1.0]},
        "d1",
    ),
    (
        'topic = "x/{gw}"\ndevice = ["{gw}", "{key}"]\nexplode = ["t", "a"]\n' + A,
        {"a": [1.0]},
        "d1",
    ),
    (f'{MEMBERS}pairs = {{ name = "[0]", value = "[1]" }}\n{A}', [[["a", 1.0]]], "d1"),
    (
        f'{LIST}[timestamp]\nrequired = true\n{A}',
        [{"id": "a", "v": 1.0}, {"id": "timestamp", "v": "2026-01-29T14:30:45Z"}],
        "d1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "payload", "device"), READABLE)
def test_what_can_be_read_is_none(text: str, payload: Any, device: str, tmp_path: Path) -> None:
    found = read_back(Parser(declared(tmp_path, text)), "x/d1", payload)
    assert (found.device_id, found.values) == (device, (1.0,))


def test_a_time_that_no_array_has_is_left_out(tmp_path: Path) -> None:
    streams = declared(tmp_path, f"{ZIP}[metrics]\na = {{}}\n")
    writer = PayloadWriter(streams["x"])
    payload = writer.payload({"a": 1.0}, RECEIVED, None)
    assert not writer.has_time
    assert json.dumps(payload) == '{"h": {"time": [null], "a": [1.0]}}'
    found = read_back(Parser(streams), "x/d1", payload)
    assert (found.values, found.own_time) == ((1.0,), False)
