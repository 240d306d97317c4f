"""Statements on the times that devices state, for judging their clocks."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, Table, bindparam, select

from device_models import Device
from models import VERIFY_DEVICE
from streams.stream import Stream

_DEVICES = Device.metadata.tables["devices"]


class LastReading(NamedTuple):
    """The reading of a device that was stored last."""

    device_id: str
    last_id: int


def devices(
    reader: Connection, stream: str, device_id: str | None, limit: int, offset: int
) -> Sequence[LastReading]:
    """Return a page of a stream's devices, in the order of their ids, or one of them."""
    query = select(_DEVICES.c.device_id, _DEVICES.c.last_id).where(_DEVICES.c.stream == stream)
    if device_id is None:
        query = query.where(_DEVICES.c.device_id != VERIFY_DEVICE)
    else:
        query = query.where(_DEVICES.c.device_id == device_id)
    query = query.order_by(_DEVICES.c.device_id).limit(limit).offset(offset)
    return [LastReading(*row) for row in reader.execute(query)]


@lru_cache(maxsize=256)
def _newest(table: Table, names: tuple[str, ...], limit: int) -> Select[Any]:
    last = select(table.c.timestamp).where(table.c.id == bindparam("last_id")).scalar_subquery()
    own = ("id", "timestamp", "device_timestamp", "created_at", "fingerprint")
    columns = [table.c[name] for name in (*own, *names)]
    query = select(*columns).where(
        table.c.device_id == bindparam("device_id"), table.c.timestamp <= last
    )
    # The unique key has no id, only device and timestamp.
    return query.order_by(table.c.timestamp.desc()).limit(limit)


def newest(
    reader: Connection, stream: Stream, table: Table, last: LastReading, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the readings of a device up to the one stored last, in the order of their ids.

    A row is id, timestamp, device timestamp, time of storing, key, the metrics in the stream's
    order, and `rest` if it is kept. The readings are the last ones by timestamp up to that of the
    reading that was stored last: a clock that was set back by a year must not be judged by the time
    before.

    There is a statement for each device, because none that all databases run reads only these
    rows: MariaDB has no LATERAL and no LIMIT below IN, and a window function numbers all rows.
    """
    names = tuple(metric.name for metric in stream.metrics)
    if stream.keeps_rest:
        names = (*names, "rest")
    rows = reader.execute(_newest(table, names, limit), last._asdict())
    return sorted(rows, key=lambda row: int(row.id))
