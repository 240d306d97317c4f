"""Checks of the keys that say in which format payloads are."""

import importlib.util
from collections.abc import Sequence

from streams.checks import check_visible, expect
from streams.paths import Path
from streams.payload_shape import MAX_COLUMNS, SENML_TIME, PayloadShape
from streams.stream import Devices, Stream, Timestamp
from streams.topics import TopicPattern

_NO_READINGS = {
    "NCMD": "spBv1.0/+/NCMD/+",
    "DCMD": "spBv1.0/+/DCMD/+/+",
    "STATE": "spBv1.0/STATE/+",
}
"""Topics of Sparkplug for messages to edge nodes, by the level that tells them."""
_NO_SEPARATORS = '"\r\n\0'


def check_format(stream: Stream) -> None:
    """Check the format of a stream and its keys. Raises StreamError."""
    shape, written = stream.shape, stream.shape.format
    if written != "csv":
        only = f"nothing, because the format is {written} and not csv"
        expect(not shape.columns, "columns", only)
        expect(shape.separator == ",", "separator", only)
    _check_csv(shape)
    if shape.columns:
        _check_names_of_columns(stream)
    if written == "cbor":
        install = ".venv/bin/pip install -r requirements-extras.txt"
        is_there = importlib.util.find_spec("cbor2") is not None
        expect(is_there, "format", f"the package cbor2 for cbor; install it: {install}")
    if written == "senml":
        fields = stream.timestamp.fields
        named = f"{SENML_TIME}, where the times of SenML are"
        expect(fields == (SENML_TIME,), "timestamp.field", named)
    if written == "sparkplug":
        _check_sparkplug(stream)
    if written != "json":
        single = "json, because each metric has its own topic"
        expect(not stream.topic.has_metric, "format", single)
        simulated = f"nothing, because the format is {written} and simulated devices write json"
        expect(stream.simulate == Devices(), "simulate", simulated)


def _check_sparkplug(stream: Stream) -> None:
    """Check that what is sent to edge nodes is not read as what they measure."""
    for level, topic in _NO_READINGS.items():
        theirs = TopicPattern.of(topic)
        reads = any(own.overlaps(theirs) for own in stream.topics)
        expected = f"{level}, because messages on {topic} are no readings"
        expect(not reads or level in stream.excluded, "except", expected)


def _check_csv(shape: PayloadShape) -> None:
    columns = shape.columns
    expect(all(columns), "columns", "names that are not empty, also of columns that nobody reads")
    for name in columns:
        check_visible("columns", name)
        expect(columns.count(name) == 1, "columns", f"each name once, not two of {name}")
    expect(len(columns) <= MAX_COLUMNS, "columns", f"at most {MAX_COLUMNS} names")
    if shape.format == "csv":
        expect(not shape.values, "values", "nothing, because the cells of a line are the values")
    is_one = len(shape.separator) == 1 and shape.separator not in _NO_SEPARATORS
    expect(is_one, "separator", "one character, such as ;, other than a quote and a line's end")


def _check_names_of_columns(stream: Stream) -> None:
    """Check that fields are among the columns; the others could never be read."""
    columns, time = stream.shape.columns, stream.timestamp
    fields: list[tuple[str, Sequence[str]]] = [
        *((f"metrics.{metric.name}.path", metric.paths) for metric in stream.metrics),
        *((f"only.{path}", [path]) for path in stream.shape.only),
    ]
    if time.required or time.field != Timestamp().field:
        fields += [("timestamp.field", [path]) for path in time.fields]
    if stream.is_named_by_payload and stream.device_paths and not stream.device_default:
        fields.append(("device", stream.device_paths))
    for key, paths in fields:
        is_column = any(Path.of(path).whole_name in columns for path in paths)
        expect(is_column, key, f"one of the columns: {', '.join(columns)}")
