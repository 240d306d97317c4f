"""The database: schema, batches, locks; the same on every kind."""

from datetime import datetime

from sqlalchemy import insert, inspect, text

import queries
from database import Database

MOMENT = datetime(2026, 1, 29, 14, 30, 45, 123456)


def row(device: str = "ESP32_001", fingerprint: int = 1, temperature: float | None = 24.5) -> tuple[object, ...]:
    return (device, MOMENT, None, temperature, 12.3, 450.0, 250.5, fingerprint, MOMENT)


def test_it_stores_a_reading(database: Database) -> None:
    table = database.tables["sensors"]
    with database.connection() as connection, database.transaction(connection):
        assert database.write_batch(connection, table, [row()]).stored == 1
    with database.session() as session:
        stored = queries.latest(session, table, "ESP32_001")
    assert stored is not None
    assert (stored["timestamp"], stored["temperature"]) == (MOMENT, 24.5)


def test_it_stores_the_same_reading_once(database: Database) -> None:
    table = database.tables["sensors"]
    with database.connection() as connection, database.transaction(connection):
        assert database.write_batch(connection, table, [row(), row(), row(fingerprint=2)]).stored == 2
        assert database.write_batch(connection, table, [row(), row(fingerprint=3)]).stored == 1
