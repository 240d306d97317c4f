"""The writer of readings: rows, and what is kept of the devices they came from, in the transaction of a batch."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Table, and_, case, func, literal_column, or_

import queries.devices
import queries.readings
from broker.message import Message
from database import Database
from ingest import known_readings
from ingest.message import Reading, Rejection
from models import Device, NewestValue
from storage.dialect import Columns, Row, literal
from streams.reading_key import ReadingKey
from streams.registry import Streams
from streams.stream import Stream
from utils import clock

QUARTER = timedelta(minutes=15)


@dataclass
class Written:
    """What became of the readings of a batch."""

    stored: int = 0
    duplicate: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    """Those that have new readings."""


class ReadingWriter:
    """Writes readings, each once, and keeps the devices and the newest values of their streams."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._heard = database.upsert(Device, ("stream", "device_id"), _heard)
        self._heard_before = database.upsert(Device, ("stream", "device_id"), _heard_before)
        self._newest = lru_cache(maxsize=2)(partial(_newest, database))
        self._keys = {stream.name: ReadingKey([metric.name for metric in stream.metrics]) for stream in streams}

    def write(self, connection: Connection, readings: Sequence[Reading], moment: datetime) -> Written:
        """Write readings of any streams within a transaction. Raises DBAPIError."""
        written = Written()
        by_stream: dict[str, list[Reading]] = defaultdict(list)
        for reading in readings:
            by_stream[reading.stream.name].append(reading)
        for name in by_stream.keys() & self._database.unusable.keys():
            reason = self._database.unusable[name]
            written.rejections += [
                Rejection(name, "stream_unusable", reason, item.message, item.device_id) for item in by_stream.pop(name)
            ]
        if by_stream:
            queries.devices.lock_streams(connection, by_stream)
        for name in sorted(by_stream):
            self._write_stream(connection, by_stream[name], moment, written)
        return written

    def _write_stream(
        self, connection: Connection, group: Sequence[Reading], moment: datetime, written: Written
    ) -> None:
        stream = group[0].stream
        table = self._database.tables[stream.name]
        new = known_readings.without_known(connection, stream, table, group)
        result = self._database.write_batch(connection, table, self._rows(stream, new), moment)
        refused = {id(new[place]) for place, _ in result.refused}
        for place, reason in result.refused:
            sentence = f"the database refused the row: {reason}"
            written.rejections.append(
                Rejection(stream.name, "refused_by_database", sentence, new[place].message, new[place].device_id)
            )
        written.stored += result.stored
        written.duplicate += len(group) - result.stored - len(refused)
        if result.stored:
            written.streams.append(stream.name)
        accepted = [reading for reading in group if id(reading) not in refused] if refused else group
        last_ids = queries.readings.last_ids_of(connection, table, moment) if result.stored else {}
        self._keep_devices(connection, stream.name, accepted, last_ids)
        if result.stored and stream.lackable:
            self._keep_newest(connection, stream, table, moment)

    def _rows(self, stream: Stream, group: Sequence[Reading]) -> list[Row]:
        key = self._keys[stream.name].of
        return [
            # Without a time of its own, a reading is known by its delivery.
            (
                r.device_id,
                r.timestamp,
                r.device_timestamp,
                *r.values,
                key(r.values) if r.own_time else _serial(r.message),
            )
            for r in group
        ]

    def _keep_devices(
        self, connection: Connection, stream: str, accepted: Sequence[Reading], last_ids: Mapping[str, int]
    ) -> None:
        if not accepted:
            return
        heard = _heard_at(accepted)
        present = clock.now()
        # What has waited for the database may be older than what another process has stored meanwhile.
        waited = abs(present - accepted[0].message.received_at) > clock.STEP
        if waited:
            heard = {device: at and min(at, present) for device, at in heard.items()}
        rows = [
            {"stream": stream, "device_id": device, "last_id": last_ids.get(device, 0), "last_heard": heard[device]}
            for device in sorted(heard)
        ]
        connection.execute(self._heard_before if waited else self._heard, rows)

    def _keep_newest(self, connection: Connection, stream: Stream, table: Table, moment: datetime) -> None:
        names = [metric.name for metric in stream.lackable]
        newest: dict[tuple[str, str], Mapping[str, Any]] = {}
        for reading_id, device_id, timestamp, *values in queries.readings.values_of(connection, table, names, moment):
            place = {"timestamp": timestamp, "reading_id": reading_id}
            newest.update({(device_id, n): place for n, v in zip(names, values, strict=True) if v is not None})
        rows = [
            {"stream": stream.name, "device_id": device_id, "metric": name, **newest[device_id, name]}
            for device_id, name in sorted(newest)
        ]
        if rows:
            connection.execute(self._newest(_quarter_after(moment + clock.MAX_AHEAD)), rows)


def _serial(message: Message) -> int:
    """What tells this delivery from every other, also when it is handed over again."""
    if not message.serial:
        message.serial = random.getrandbits(62)
    return message.serial


def _heard_at(accepted: Sequence[Reading]) -> dict[str, datetime | None]:
    """When each device was heard last; None of those of which there are only repeated messages."""
    last = {reading.device_id: reading.message for reading in accepted}
    if any(message.retained for message in last.values()):
        live = {reading.device_id: reading.message for reading in accepted if not reading.message.retained}
        return {device: live[device].received_at if device in live else None for device in last}
    return {device: message.received_at for device, message in last.items()}


def _heard(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    # Also where it is earlier: then the clock was set back.
    heard = func.coalesce(incoming.last_heard, stored.last_heard)
    return [("last_id", _greater("last_id", stored, incoming)), ("last_heard", heard)]


def _heard_before(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    """The same of readings that came some time ago."""
    heard = func.coalesce(_greater("last_heard", stored, incoming), incoming.last_heard)
    return [("last_id", _greater("last_id", stored, incoming)), ("last_heard", heard)]


def _greater(name: str, stored: Columns, incoming: Columns) -> ColumnElement[Any]:
    return case((incoming[name] > stored[name], incoming[name]), else_=stored[name])


def _newest(database: Database, future: datetime) -> Insert:
    """The statement that keeps newest values; one with a time from `future` on gives way to any that is earlier."""
    # As text, because PyMySQL takes no parameters after the values of many rows.
    limit: ColumnElement[datetime] = literal_column(literal(future))

    def merge(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
        # A reading that is measured at the same moment and stored later is the newer one.
        later = incoming.timestamp >= stored.timestamp
        newer = or_(later, and_(stored.timestamp >= limit, incoming.timestamp < limit))
        return [
            ("reading_id", case((newer, incoming.reading_id), else_=stored.reading_id)),
            ("timestamp", case((newer, incoming.timestamp), else_=stored.timestamp)),
        ]

    return database.upsert(NewestValue, ("stream", "device_id", "metric"), merge)


def _quarter_after(moment: datetime) -> datetime:
    """The quarter of an hour that begins next, so that a statement with it is made four times an hour only."""
    return clock.EPOCH + ((moment - clock.EPOCH) // QUARTER + 1) * QUARTER
