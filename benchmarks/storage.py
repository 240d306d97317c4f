"""What is in the database of a measurement: counting rows, and filling a table with many."""

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


class Batch(NamedTuple):
    """Rows that were written together."""

    moment: datetime
    rows: int


def rows_stored(url: str) -> int:
    """How many rows the readings' table has; 0 while there is none."""
    return _number(url, "SELECT count(*) FROM sensor_readings")


def messages_received(url: str) -> int:
    """How many messages the ingester has committed; 0 before it has prepared the database."""
    return _number(url, "SELECT received FROM ingest_status WHERE source = 'mqtt'")


def newest_of_each(url: str, name: str) -> dict[str, str]:
    """The newest timestamp of each device in a table, as live clients get it."""
    readings = _readings(name)
    query = select(readings.c.device_id, func.max(readings.c.timestamp)).group_by(readings.c.device_id)
    return {device_id: clock.rfc3339(moment) for device_id, moment in _rows_of(url, query)}


def newest_id(url: str, name: str) -> int:
    """The id of the row of a table that was written last; 0 while there is none."""
    return int(_rows_of(url, select(func.max(_readings(name).c.id)))[0][0] or 0)


def batches(url: str, name: str, after: int) -> list[Batch]:
    """When the rows of a table after an id were written, and how many at a time, oldest first."""
    readings = _readings(name)
    moment = readings.c.created_at
    query = select(moment, func.count()).where(readings.c.id > after).group_by(moment).order_by(moment)
    return [Batch(*row) for row in _rows_of(url, query)]


def rate(written: list[Batch]) -> float:
    """Rows a second, over the time from the first batch to the beginning of the last one. Raises RuntimeError."""
    seconds = (written[-1].moment - written[0].moment).total_seconds() if written else 0.0
    if not seconds:
        raise RuntimeError(f"{len(written)} batches are too few to tell a rate")
    return sum(batch.rows for batch in written[:-1]) / seconds


def fill(url: str, count: int, devices: int) -> None:
    """Store so many readings, 100 ms apart, by the product's own bulk insert."""
    database = Database(make_url(url), declaration.declared(load_settings(_env_file=None)))
    database.prepare()
    rows = _rows(count, devices)
    with database.connection() as connection:
        while batch := list(islice(rows, _BATCH)):
            with database.transaction(connection):
                database.write_batch(connection, database.tables[STREAM], batch, clock.now())
    database.close()


def _rows(count: int, devices: int) -> Iterator[Row]:
    chance = random.Random(1)
    now = clock.now()
    for number in range(count):
        moment = now - timedelta(milliseconds=100 * (count - number))
        values = (chance.gauss(24, 2), chance.gauss(12, 2), chance.gauss(450, 60), chance.gauss(250, 50))
        yield (device(number % devices), moment, None, *values, chance.getrandbits(63))


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
