"""Samples as columns, ready for numpy."""

from collections.abc import Sequence
from typing import Any

from services import serializers
from streams.stream import Stream
from utils import clock
from utils.json_types import JsonObject


def columns(stream: Stream, rows: Sequence[Sequence[Any]]) -> JsonObject:
    """Return a list for each of `queries.readings.ml_data`'s columns: times, devices, metrics.

    Of a stream that keeps other fields, each of their names is a column, too.
    """
    names = [metric.plural for metric in stream.metrics]
    found = list(zip(*rows, strict=True)) or [()] * (3 + len(names))
    data: JsonObject = {
        "timestamps": [clock.rfc3339(at) for at in found[0]],
        "device_ids": list(found[1]),
    }
    data |= {name: list(column) for name, column in zip(names, found[2:], strict=False)}
    return data | (_of_rest(found[-1]) if stream.keeps_rest else {})


def _of_rest(texts: Sequence[str | None]) -> JsonObject:
    fields = [serializers.fields_of(text) for text in texts]
    names = dict.fromkeys(name for one in fields for name in one)
    return {name: [one.get(name) for one in fields] for name in names}
