"""The rows of readings, with their keys."""

from collections.abc import Iterable, Sequence

from ingest.message import Reading
from ingest.rest import encoded
from storage.dialect import Row
from streams.reading_key import ReadingKey
from streams.stream import Stream


class ReadingRows:
    """Makes the rows that the tables of streams have for readings."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._keys = {stream.name: ReadingKey.of_stream(stream) for stream in streams}

    def of(self, stream: Stream, group: Sequence[Reading]) -> list[Row]:
        """Return the rows of readings of one stream."""
        if stream.keeps_rest:
            return self._with_rest(stream, group)
        key = self._keys[stream.name].of
        return [
            # A reading without its own time is identified by its delivery.
            (
                r.device_id,
                r.timestamp,
                r.device_timestamp,
                *r.values,
                key(r.values) if r.own_time else r.delivery(),
            )
            for r in group
        ]

    def _with_rest(self, stream: Stream, group: Sequence[Reading]) -> list[Row]:
        key = self._keys[stream.name].with_rest
        return [
            (
                r.device_id,
                r.timestamp,
                r.device_timestamp,
                *r.values,
                encoded(r.rest),
                key(r.values, r.rest or {}) if r.own_time else r.delivery(),
            )
            for r in group
        ]
