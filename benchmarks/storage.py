"""What is in the database of a measurement: counting rows, and filling a table with many."""

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from benchmarks.load import device
from config import load_settings
from database import Database
from dialects import Row
from streams import declaration
from utils import clock

STREAM = "sensors"
_BATCH = 20_000


def rows_stored(url: str) -> int:
    """How many rows the readings' table has; 0 while there is none."""
    return _number(url, "SELECT count(*) FROM sensor_readings")


def messages_received(url: str) -> int:
    """How many messages the ingester has committed; 0 before it has prepared the database."""
    return _number(url, "SELECT received FROM ingest_status WHERE source = 'mqtt'")


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
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(text(query)).scalar() or 0)
    except DBAPIError:
        return 0
    finally:
        engine.dispose()
