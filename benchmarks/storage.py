"""The database of a measurement: count its rows, and fill a table with many."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    DateTime,
    Executable,
    Integer,
    String,
    TableClause,
    column,
    create_engine,
    func,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from benchmarks.load import device
from config import load_settings
from database import Database
from storage.dialect import Row
from streams import declaration
from utils import clock

STREAM = "sensors"
_BATCH = 20_000


class StorageBatch(NamedTuple):
    """Rows that were written together."""

    created_at: datetime
    rows: int


def rows_stored(url: str) -> int:
    """Return the number of stored readings; 0 if the table does not exist yet."""
    return _number(url, "SELECT count(*) FROM sensor_readings")


def messages_received(url: str) -> int:
    """Return how many messages the ingester has committed; 0 before the database is prepared."""
    return _number(url, "SELECT received FROM ingest_status WHERE source = 'mqtt'")


def newest_of_each(url: str, name: str) -> dict[str, str]:
    """Return the newest timestamp of each device in a table, as live clients get it."""
    readings = _readings(name)
    newest = func.max(readings.c.timestamp)
    query = select(readings.c.device_id, newest).group_by(readings.c.device_id)
    return {device_id: clock.rfc3339(timestamp) for device_id, timestamp in _rows_of(url, query)}


def newest_id(url: str, name: str) -> int:
    """Return the highest row id of a table; 0 if it is empty."""
    return int(_rows_of(url, select(func.max(_readings(name).c.id)))[0][0] or 0)


def batches(url: str, name: str, after: int) -> list[StorageBatch]:
    """Return the batches in which the rows of a table after an id were written, oldest first."""
    readings = _readings(name)
    created_at = readings.c.created_at
    query = select(created_at, func.count()).where(readings.c.id > after)
    query = query.group_by(created_at).order_by(created_at)
    return [StorageBatch(*row) for row in _rows_of(url, query)]


def rate(written: list[StorageBatch]) -> float:
    """Return the rows a second from the first batch to the beginning of the last one.

    Raises RuntimeError if the batches span no time.
    """
    seconds = (written[-1].created_at - written[0].created_at).total_seconds() if written else 0.0
    if not seconds:
        raise RuntimeError(f"{len(written)} batches are too few to compute a rate")
    return sum(batch.rows for batch in written[:-1]) / seconds


def fill(url: str, count: int, devices: int) -> None:
    """Store `count` readings, 100 ms apart, with the product's own bulk insert."""
    database = Database(make_url(url), declaration.declared(load_settings(_env_file=None)))
    database.prepare()
    rows = _rows(count, devices)
    with database.write() as connection:
        while batch := list(islice(rows, _BATCH)):
            with database.transaction(connection):
                database.write_batch(connection, database.tables[STREAM], batch, clock.now())
    database.close()


def _rows(count: int, devices: int) -> Iterator[Row]:
    chance = random.Random(1)
    now = clock.now()
    for number in range(count):
        timestamp = now - timedelta(milliseconds=100 * (count - number))
        temperature, vibration = chance.gauss(24, 2), chance.gauss(12, 2)
        gas, power = chance.gauss(450, 60), chance.gauss(250, 50)
        values = (temperature, vibration, gas, power)
        yield (device(number % devices), timestamp, None, *values, chance.getrandbits(63))


def _number(url: str, query: str) -> int:
    try:
        return int(_rows_of(url, text(query))[0][0] or 0)
    except DBAPIError:
        return 0


def _readings(name: str) -> TableClause:
    times = column("timestamp", DateTime), column("created_at", DateTime)
    return table(name, column("id", Integer), column("device_id", String), *times)


def _rows_of(url: str, query: Executable) -> list[Any]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(query).all())
    finally:
        engine.dispose()
