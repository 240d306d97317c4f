"""What simulated devices write is read back the same, in every shape of payload."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.payload import Parser
from streams.declaration import load
from streams.metric import Value
from streams.registry import Streams
from streams.writing import PayloadWriter
from tests.support import DEVICE_TOPICS
from tests.written import any_value, read_back
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
    "held": """
topic = "held/data"
device = "id"
values = "body"
[timestamp]
zone = "Europe/Berlin"
[metrics]
a = {}
b = { type = "integer" }
""",
    "array": """
topic = "array/{device_id}"
values = "body[0]"
[metrics]
a = "[1]"
b = "[0].b"
""",
    "mixed": """
topic = "mixed/data"
device = "body.id"
values = "body"
only = { "body.kind" = "data" }
[metrics]
a = {}
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
h = { scale = 0.1, map = { low = 0, high = 100 } }
i = { path = "state", bytes = { at = 0, as = "u8" }, map = { "2" = 20, "3" = 30 } }
j = { base = 16, map = { "10" = 1 }, type = "integer" }
k = { path = "pair", split = ";", item = 0, bytes = { at = 0, as = "u8" } }
l = { path = "pair", split = ";", item = 1, bytes = { at = 1, as = "i8" } }
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


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    streams = streams_of(tmp_path)
    stream, parser = streams[name], Parser(streams)
    writer = PayloadWriter(stream)
    named = None if stream.is_named_by_topic else "M7"
    values = st.fixed_dictionaries({metric.name: any_value(metric) for metric in stream.metrics})

    @settings(deadline=None)
    @given(values)
    def check(given: dict[str, Value]) -> None:
        payload = writer.payload(given, TIME, named)
        found = read_back(parser, stream.topic_of("M7"), payload)
        names = [metric.name for metric in stream.metrics]
        assert dict(zip(names, found.values, strict=True)) == given
        assert found.unread == ()
        assert (found.device_id, found.own_time) == ("M7", True)

    check()


def test_a_payload_has_the_shape_that_is_declared(tmp_path: Path) -> None:
    values: dict[str, Value] = {"a": 1.5, "b": 2, "c": True, "d": "x"}
    streams = streams_of(tmp_path)
    assert PayloadWriter(streams["nested"]).payload(values, TIME, "M7") == {
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
    assert PayloadWriter(streams["pieces"]).payload(values, TIME, None) == {
        "timestamp": TEXT,
        "position": "1.5,2",
        "list": [None, None, True],
        "words": "x",
    }


def test_a_metric_with_a_topic_of_its_own_is_written_alone(tmp_path: Path) -> None:
    (tmp_path / "alone.toml").write_text("""
topic = "alone/{device_id}/{metric}"
[metrics]
a = {}
b = { path = "deep.b", scale = 0.5 }
""")
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    stream, parser = streams["alone"], Parser(streams)
    writer = PayloadWriter(stream)
    a, b = stream.metrics
    payloads = {
        "a": {"timestamp": TEXT, "value": 1.5},
        "b": {"timestamp": TEXT, "deep": {"b": 3}},
    }
    for metric in (a, b):
        payload = writer.single(metric, 1.5, TIME, None)
        assert payload == payloads[metric.name]
        found = read_back(parser, stream.topic_of("M7", metric.level), payload)
        assert found.values == tuple(1.5 if each is metric else None for each in (a, b))


TIMES = [
    ("", "2026-01-29T14:30:45.123456Z", "2026-01-29T14:30:45.123456Z"),
    ('format = "s"', 1769697045, "2026-01-29T14:30:45.000000Z"),
    ('format = "ms"', 1769697045123, "2026-01-29T14:30:45.123000Z"),
    ('format = "ns"', 1769697045123456000, "2026-01-29T14:30:45.123456Z"),
    ('zone = "+07:00"', "2026-01-29T21:30:45.123456+07:00", "2026-01-29T14:30:45.123456Z"),
    (
        'zone = "Europe/Berlin"\nformat = "%d.%m.%Y %H:%M:%S"',
        "29.01.2026 15:30:45",
        "2026-01-29T14:30:45.000000Z",
    ),
    ('format = "%Y-%m-%d %H:%M:%S.%f"', "2026-01-29 14:30:45.123456", TEXT),
]


@pytest.mark.parametrize(("keys", "written", "represented"), TIMES)
def test_a_time_is_written_in_its_format_and_zone(
    keys: str, written: str | int, represented: str, tmp_path: Path
) -> None:
    text = f'topic = "t/{{device_id}}"\n[timestamp]\n{keys}\n[metrics]\na = {{}}\n'
    (tmp_path / "timed.toml").write_text(text)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    writer = PayloadWriter(streams["timed"])
    payload = writer.payload({"a": 1.0}, TIME, None)
    assert payload == {"timestamp": written, "a": 1.0}
    found = read_back(Parser(streams), "t/M7", payload)
    assert found.timestamp == writer.time.representable(TIME) == parse(represented)


BERLIN = 'zone = "Europe/Berlin"\n'
TEXTS = [
    f'{BERLIN}format = "%d.%m.%Y %H:%M:%S"',
    f'{BERLIN}format = "%d.%m.%Y %H:%M"',
    f'{BERLIN}format = "%d.%m.%Y %H:%M:%S.%f %z"',
    f'{BERLIN}field = ["date", "clock"]',
    'zone = "Australia/Lord_Howe"\nformat = "%Y%m%d%H%M%S%f"',
    'field = ["date", "clock"]\nformat = "s"',
    BERLIN,
]


@pytest.mark.parametrize("keys", TEXTS)
def test_the_time_that_is_read_is_the_nearest_that_can_be_written(
    keys: str, tmp_path: Path
) -> None:
    text = f'topic = "t/{{device_id}}"\n[timestamp]\n{keys}\n[metrics]\na = {{}}\n'
    (tmp_path / "timed.toml").write_text(text)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    writer, parser = PayloadWriter(streams["timed"]), Parser(streams)
    any_time = st.datetimes(parse("2021-01-01T00:00:00Z"), TIME)
    # Around the end of summer time, which is on different days in these zones.
    ending = st.datetimes(parse("2025-10-26T00:00:00Z"), parse("2025-10-26T02:00:00Z"))
    southern = st.datetimes(parse("2025-04-05T14:00:00Z"), parse("2025-04-05T16:00:00Z"))

    @settings(deadline=None)
    @given(any_time | ending | southern)
    def check(time: datetime) -> None:
        nearest = writer.time.representable(time)
        for written in (time, nearest):
            found = read_back(parser, "t/M7", writer.payload({"a": 1.0}, written, None))
            assert (found.timestamp, found.own_time) == (nearest, True)

    check()


def test_of_the_hour_that_comes_twice_the_earlier_one_can_be_written(tmp_path: Path) -> None:
    text = f'topic = "t/{{device_id}}"\n[timestamp]\n{TEXTS[0]}\n[metrics]\na = {{}}\n'
    (tmp_path / "timed.toml").write_text(text)
    writer = PayloadWriter(load(tmp_path, {}, DEVICE_TOPICS)["timed"])
    earlier, later = parse("2025-10-26T00:30:00Z"), parse("2025-10-26T01:30:00Z")
    assert writer.time.text(earlier) == writer.time.text(later) == "26.10.2025 02:30:00"
    assert writer.time.representable(earlier) == writer.time.representable(later) == earlier


def test_a_time_is_written_in_two_fields(tmp_path: Path) -> None:
    text = 'topic = "t/{device_id}"\n[timestamp]\nfield = ["date", "clock"]\n[metrics]\na = {}\n'
    (tmp_path / "timed.toml").write_text(text)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    payload = PayloadWriter(streams["timed"]).payload({"a": 1.0}, TIME, None)
    assert payload == {"date": "2026-01-29", "clock": "14:30:45.123456", "a": 1.0}
    assert read_back(Parser(streams), "t/M7", payload).timestamp == TIME
