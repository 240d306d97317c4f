"""Rows of `sensors` and statements, for the tests of what a database does with them."""

from datetime import datetime

from sqlalchemy import text

from database import Database
from storage.dialect import Row

MOMENT = datetime(2026, 1, 29, 14, 30, 45, 123456)


def row(device: str = "ESP32_001", fingerprint: int = 1, temperature: float | None = 24.5) -> Row:
    return (device, MOMENT, None, temperature, 12.3, 450.0, 250.5, fingerprint)


def write(database: Database, *rows: Row) -> int:
    with database.write() as connection, database.transaction(connection):
        return database.write_batch(connection, database.tables["sensors"], rows, MOMENT).stored


def execute(database: Database, statement: str) -> None:
    with database.write() as connection, database.transaction(connection):
        connection.execute(text(statement))


def forbid_666(
    database: Database, table: str = "sensor_readings", column: str = "temperature"
) -> None:
    """Have the database refuse a value by a CHECK, which OR IGNORE and the like would pass over in silence."""
    check = f"CHECK ({column} <> 666)"
    if database.engine.dialect.name != "sqlite":
        execute(database, f"ALTER TABLE {table} ADD CONSTRAINT no_666 {check}")
        return
    with database.write() as connection, database.transaction(connection):
        made = "SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL"
        statements = connection.execute(text(made), {"table": table}).all()
        connection.execute(text(f"DROP TABLE {table}"))
        for kind, sql in sorted(statements, key=lambda row: row.type != "table"):
            connection.exec_driver_sql(
                f"{sql.rstrip().removesuffix(')')}, {check})" if kind == "table" else sql
            )
