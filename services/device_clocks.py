"""The clocks of a stream's devices, for `clocks`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table

import queries.clocks
from ingest.times import AHEAD
from queries.clocks import LastReading
from services import clock_advice
from services.clock_judgement import Sighting, judge
from services.serializers import fields_of
from streams.reading_key import ReadingKey
from streams.stream import Stream
from utils import calendar, clock
from utils.json_types import JsonObject

ROWS = 50
"""How many readings of a device are read; more would tell of clocks that were mended long ago."""


def judged(
    reader: Connection, stream: Stream, table: Table, devices: Sequence[LastReading]
) -> list[JsonObject]:
    """Return the clock of each device; without those whose readings do not tell."""
    now = clock.now()
    declared = clock_advice.declared_offset(stream, now)
    here = calendar.of_server()
    found: list[JsonObject] = []
    for device in devices:
        rows = queries.clocks.newest(reader, stream, table, device, ROWS)
        sightings = list(_sightings(rows, stream))
        judgement = judge(sightings, declared)
        if judgement is None:
            continue
        offset = judgement.offset
        found.append(
            {
                "device_id": device.device_id,
                "offset_seconds": offset if offset is None else round(offset, 3),
                "looks_like": judgement.looks_like,
                "advice": clock_advice.advice(judgement, stream, sightings[-1].claimed, now, here),
            }
        )
    return found


def _sightings(rows: Sequence[Row[*tuple[Any, ...]]], stream: Stream) -> Iterator[Sighting]:
    """Yield the readings of which the device stated the time."""
    key = ReadingKey.of_stream(stream)
    for _, timestamp, claimed, received, fingerprint, *values in rows:
        if claimed is not None:
            yield Sighting(received, _ahead(claimed, received), claimed)
        # An undated reading has the number of its delivery in place of its key.
        elif fingerprint == _key_of(key, stream, values):
            yield Sighting(received, (timestamp - received).total_seconds())


def _key_of(key: ReadingKey, stream: Stream, values: Sequence[Any]) -> int:
    if not stream.keeps_rest:
        return key.of(values)
    *own, rest = values
    return key.with_rest(own, fields_of(rest))


def _ahead(claimed: str, received: datetime) -> float | None:
    """Return how far ahead a time is that was not believed; None if its clock is not set."""
    if not clock_advice.is_time(claimed):
        return None
    ahead = clock.parse(claimed) - received
    is_set = received < received + ahead <= received + AHEAD
    return ahead.total_seconds() if is_set else None
