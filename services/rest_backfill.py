"""Fill metrics from the fields that a stream kept before they were declared."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

import queries.newest
import queries.rest_fields
import queries.rest_names
from database import Database
from ingest.conversion import Converter
from ingest.rest import encoded
from ingest.values import PayloadError
from services.serializers import fields_of
from streams.reading_key import ReadingKey
from streams.rest import kept_as
from streams.stream import Stream
from utils import clock

AT_ONCE = 1_000
"""Readings in a transaction."""


class Filled(NamedTuple):
    """How many readings were changed, and how many kept values a metric could not read."""

    readings: int = 0
    unread: int = 0


class MetricSource(NamedTuple):
    """A metric, the names that its values were kept under, and how they are read."""

    metric: str
    names: Sequence[str]
    converter: Converter


def fill(database: Database, stream: Stream) -> Filled:
    """Fill the metrics of all readings. It can be interrupted and repeated. Raises Unavailable."""
    with database.write() as connection:
        return Backfill(database, stream, connection).run()


class Backfill:
    """Moves kept fields to the columns of their metrics."""

    def __init__(self, database: Database, stream: Stream, connection: Connection) -> None:
        self._database, self._stream, self._connection = database, stream, connection
        self._table = database.tables[stream.name]
        self._sources = [
            MetricSource(metric.name, kept_as(stream, metric), Converter(stream, metric))
            for metric in stream.metrics
        ]
        self._key_of = ReadingKey.of_stream(stream).with_rest
        self._keeping = partial(queries.newest.keeping, database.upsert)

    def run(self) -> Filled:
        """Fill all readings."""
        names = [source.metric for source in self._sources]
        filled, last = Filled(), 0
        while True:
            with self._database.transaction(self._connection):
                rows = queries.rest_fields.kept_after(
                    self._connection, self._table, names, last, AT_ONCE
                )
                if not rows:
                    taken = [name for source in self._sources for name in source.names]
                    queries.rest_names.drop(self._connection, self._stream.name, taken)
                    return filled
                more = self._fill(rows)
            filled = Filled(filled.readings + more.readings, filled.unread + more.unread)
            last = rows[-1]["id"]

    def _fill(self, rows: Sequence[RowMapping]) -> Filled:
        changed: list[dict[str, Any]] = []
        newest: list[dict[str, Any]] = []
        unread = 0
        for row in rows:
            values, kept, errors = self._moved(row)
            unread += errors
            if values:
                key = self._key(row, values, kept)
                new = {"id": row["id"], "rest": encoded(kept), "fingerprint": key, **values}
                queries.rest_fields.fill(self._connection, self._table, new)
                changed.append(new)
                newest += [self._newest(row, name) for name in values]
        self._keep_newest(newest)
        return Filled(len(changed), unread)

    def _moved(self, row: RowMapping) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Return the new values of a reading's metrics, what is still kept, and the errors."""
        kept, values, errors = fields_of(row["rest"]), dict[str, Any](), 0
        read: set[str] = set()  # two metrics may be in one field
        for source in self._sources:
            name = next((name for name in source.names if name in kept), None)
            if name is None or row[source.metric] is not None:
                continue
            try:
                value = source.converter.value(source.metric, kept[name])
            except PayloadError:
                errors += 1
                continue
            if value is not None:
                values[source.metric] = value
                read.add(name)
        left = {name: value for name, value in kept.items() if name not in read}
        return values, left, errors

    def _key(self, row: RowMapping, values: dict[str, Any], kept: dict[str, Any]) -> int:
        """Return the key that the reading would have if it came now, so that it is known again.

        An undated reading keeps that of its delivery, and so does one that came again meanwhile.
        """
        present: int = row["fingerprint"]
        before = [row[source.metric] for source in self._sources]
        if present != self._key_of(before, fields_of(row["rest"])):
            return present
        now = [values.get(source.metric, row[source.metric]) for source in self._sources]
        key = self._key_of(now, kept)
        place = row["device_id"], row["timestamp"], key
        is_known = queries.rest_fields.is_known(self._connection, self._table, place)
        return present if is_known else key

    def _newest(self, row: RowMapping, metric: str) -> dict[str, Any]:
        return {
            "stream": self._stream.name,
            "device_id": row["device_id"],
            "metric": metric,
            "timestamp": row["timestamp"],
            "reading_id": row["id"],
        }

    def _keep_newest(self, rows: Sequence[dict[str, Any]]) -> None:
        by_time = sorted(rows, key=lambda row: (row["timestamp"], row["reading_id"]))
        last = {(row["device_id"], row["metric"]): row for row in by_time}
        if last:
            statement = self._keeping(queries.newest.future_at(clock.now()))
            self._connection.execute(statement, [last[key] for key in sorted(last)])
