"""Remove what `flask verify` leaves in the database."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

import queries.devices
import queries.newest
import queries.presence
import queries.quality
import queries.readings
import queries.rest_names
from config import Settings
from database import Database, Unavailable
from models import VERIFY_DEVICE
from streams.registry import Streams
from utils.database_url import file_of


def remove(settings: Settings, streams: Streams, made: dict[str, datetime]) -> bool:
    """Remove the readings of `flask verify`; `made` has the time of a reading by stream.

    Return False if they are not in the database of DATABASE_URL: the backend uses another one.
    """
    if settings.url.drivername == "sqlite" and not Path(file_of(settings.url)).is_file():
        return False
    database = Database(settings.url, streams)
    try:
        with database.write() as connection, database.transaction(connection):
            if not any(
                _is_there(connection, database, name, timestamp) for name, timestamp in made.items()
            ):
                return False
            queries.devices.lock_streams(connection, sorted(stream.name for stream in streams))
            for name in database.tables:
                _forget(connection, database, name)
            queries.presence.forget(connection, VERIFY_DEVICE)
    except Unavailable:
        return False
    finally:
        database.close()
    return True


def _is_there(connection: Connection, database: Database, name: str, timestamp: datetime) -> bool:
    return queries.readings.has_reading(connection, database.tables[name], VERIFY_DEVICE, timestamp)


def _forget(connection: Connection, database: Database, name: str) -> None:
    table = database.tables[name]
    # SQLite reuses the highest id once its row is gone, and clients continue from ids: it stays.
    newest = (
        queries.readings.newest_id(connection, table)
        if database.engine.dialect.name == "sqlite"
        else None
    )
    queries.readings.forget(connection, table, VERIFY_DEVICE, newest or 0)
    queries.devices.forget(connection, name, VERIFY_DEVICE)
    queries.newest.forget(connection, name, VERIFY_DEVICE)
    queries.rest_names.forget(connection, name, VERIFY_DEVICE)
    queries.quality.forget(connection, name, VERIFY_DEVICE)
