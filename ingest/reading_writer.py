"""The writer of readings: their rows, their devices and the newest values, in one transaction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Connection, Table

import queries.devices
import queries.newest
import queries.readings
from database import Database
from ingest import known_readings
from ingest.message import Reading, Rejection
from ingest.outcome import Applied, Fate
from ingest.quality import QualityWriter, partly_read
from ingest.reading_rows import ReadingRows
from ingest.rest_names import RestNameLimit
from queries.readings import RowKey
from storage.dialect import Row
from streams.registry import Streams
from streams.stream import Stream
from utils import clock


class ReadingWriter:
    """The kind of message that is a reading; writes each reading once.

    It also updates the devices and the newest values of the streams.
    """

    parsed = Reading

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._heard = queries.devices.keeping(database.upsert, late=False)
        self._heard_before = queries.devices.keeping(database.upsert, late=True)
        keeping = partial(queries.newest.keeping, database.upsert)
        self._newest = lru_cache(maxsize=2)(keeping)
        self._names = RestNameLimit(database)
        self._quality = QualityWriter(database)
        self._rows = ReadingRows(streams)

    def apply(self, connection: Connection, readings: Sequence[Reading], now: datetime) -> Applied:
        """Write readings of any stream within a transaction. Raises DBAPIError."""
        applied = Applied(unkeyed=[one.message for one in readings if not one.own_time])
        by_stream: dict[str, list[Reading]] = defaultdict(list)
        for reading in readings:
            by_stream[reading.stream.name].append(reading)
        for name in by_stream.keys() & self._database.unusable.keys():
            reason = self._database.unusable[name]
            for one in by_stream.pop(name):
                _reject(applied, one, _rejection("stream_unusable", reason, one))
        if by_stream:
            queries.devices.lock_streams(connection, by_stream)
        for name in sorted(by_stream):
            self._write_stream(connection, by_stream[name], now, applied)
        return applied

    def _write_stream(
        self, connection: Connection, group: Sequence[Reading], now: datetime, applied: Applied
    ) -> None:
        stream = group[0].stream
        table = self._database.tables[stream.name]
        if stream.keeps_rest:
            self._names.apply(connection, group)
        known = known_readings.known(connection, stream, table, group)
        new: Sequence[int] = range(len(group))
        if known:
            new = [index for index in new if index not in known]
        rows = self._rows.of(stream, [group[index] for index in new] if known else group)
        result = self._database.write_batch(connection, table, rows, now)
        refused = {new[index]: reason for index, reason in result.refused}
        for index, reason in refused.items():
            _reject(applied, group[index], _refusal(reason, group[index]))
        applied.stored += result.stored
        applied.duplicate += len(group) - result.stored - len(refused)
        if _is_told_singly(group):
            of_rows = dict(zip(new, rows, strict=True))
            others = [index for index in range(len(group)) if index not in refused]
            told = [(group[index], of_rows.get(index)) for index in others]
            self._tell_singly(connection, table, now, applied, told)
        last_ids: Mapping[str, int] = {}
        if result.stored:
            applied.changes.readings[stream.name] = [now]
            last_ids = queries.readings.last_ids_of(connection, table, now)
        accepted = group
        if refused:
            accepted = [one for index, one in enumerate(group) if index not in refused]
        self._keep_devices(connection, stream.name, accepted, last_ids)
        if result.stored and stream.lackable:
            self._keep_newest(connection, stream, table, now)

    def _tell_singly(
        self,
        connection: Connection,
        table: Table,
        now: datetime,
        applied: Applied,
        accepted: Iterable[tuple[Reading, Row | None]],
    ) -> None:
        """Find out which readings are new: for messages with several, and to count faults."""
        left = queries.readings.keys_of(connection, table, now)
        faulty = _tell_fates(applied, left, accepted)
        if faulty:
            self._quality.write(connection, faulty, now)
            applied.partly_read += partly_read(faulty)

    def _keep_devices(
        self,
        connection: Connection,
        stream: str,
        accepted: Sequence[Reading],
        last_ids: Mapping[str, int],
    ) -> None:
        if not accepted:
            return
        heard = _heard_at(accepted)
        present = clock.now()
        # After waiting for the database, another process may have stored later messages.
        waited = abs(present - accepted[0].message.received_at) > clock.STEP
        if waited:
            heard = {device: at and min(at, present) for device, at in heard.items()}
        rows = [
            {
                "stream": stream,
                "device_id": device,
                "last_id": last_ids.get(device, 0),
                "last_heard": heard[device],
            }
            for device in sorted(heard)
        ]
        connection.execute(self._heard_before if waited else self._heard, rows)

    def _keep_newest(
        self, connection: Connection, stream: Stream, table: Table, now: datetime
    ) -> None:
        names = [metric.name for metric in stream.lackable]
        newest: dict[tuple[str, str], dict[str, Any]] = {}
        stored = queries.readings.values_of(connection, table, names, now)
        for reading_id, device_id, timestamp, *values in stored:
            last = {"timestamp": timestamp, "reading_id": reading_id}
            sent = [name for name, value in zip(names, values, strict=True) if value is not None]
            newest |= {(device_id, name): last for name in sent}
        rows = [
            {"stream": stream.name, "device_id": device_id, "metric": name} | last
            for (device_id, name), last in sorted(newest.items())
        ]
        if rows:
            connection.execute(self._newest(queries.newest.future_at(now)), rows)


def _reject(applied: Applied, reading: Reading, rejection: Rejection) -> None:
    if reading.index is None:
        applied.rejections.append(rejection)
    else:
        applied.fates.append(Fate(reading, rejection=rejection))


def _tell_fates(
    applied: Applied, left: set[RowKey], accepted: Iterable[tuple[Reading, Row | None]]
) -> list[Reading]:
    """Move the readings that are one of several from the counts to the fates.

    `left` are the keys of the new rows; a reading without a row is known under another key.
    Return the new readings that have faults.
    """
    faulty: list[Reading] = []
    for reading, row in accepted:
        key = None if row is None else (row[0], row[1], row[-1])
        is_stored = key in left
        if key is not None:
            left.discard(key)  # what has the same key after it is a duplicate
        if is_stored and reading.faults:
            faulty.append(reading)
        if reading.index is not None:
            applied.fates.append(Fate(reading, is_stored))
            applied.stored -= is_stored
            applied.duplicate -= not is_stored
    return faulty


def _is_told_singly(group: Sequence[Reading]) -> bool:
    # A list takes half the time of a generator.
    return any([one.index is not None or one.faults for one in group])  # noqa: C419 - see above


def _rejection(reason: str, text: str, reading: Reading) -> Rejection:
    return Rejection(reading.stream.name, reason, text, reading.message, reading.device_id, 1)


def _refusal(reason: str, reading: Reading) -> Rejection:
    return _rejection("refused_by_database", f"the database refused the row: {reason}", reading)


def _heard_at(accepted: Sequence[Reading]) -> dict[str, datetime | None]:
    """Return when each device was heard last; None if all of its messages are retained."""
    last = {reading.device_id: reading.message for reading in accepted}
    if any(message.retained for message in last.values()):
        fresh = [reading for reading in accepted if not reading.message.retained]
        live = {reading.device_id: reading.message for reading in fresh}
        return {device: live[device].received_at if device in live else None for device in last}
    return {device: message.received_at for device, message in last.items()}
