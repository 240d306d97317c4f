"""Schema: brings the database's tables up to the models and the declared streams; adds, never drops."""

import contextlib
import secrets
from collections.abc import Iterable
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Column, Connection, Double, Table, insert, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateColumn

from config import PROJECT
from models import IngestStatus, Installation

SOURCES = ("mqtt", "http")


class SchemaError(Exception):
    """The database has a table that does not fit the declaration; the text says which and what to do."""


def bring_up_to_date(connection: Connection, tables: Iterable[Table]) -> None:
    """Run the migrations, create missing reading tables and add missing columns. Raises SchemaError."""
    configuration = Config()
    configuration.set_main_option("script_location", str(PROJECT / "migrations"))
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")
    for table in tables:
        _create_or_extend(connection, table)
    _ensure_rows(connection)


def _create_or_extend(connection: Connection, table: Table) -> None:
    inspector = inspect(connection)
    if not inspector.has_table(table.name):
        table.create(connection)
        return
    present = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in present:
            _add_column(connection, table, column)
        elif column.nullable:
            _check_type(table, column, present[column.name])


def _add_column(connection: Connection, table: Table, column: Column[Any]) -> None:
    if not column.nullable:
        raise SchemaError(f"table {table.name}: has no column {column.name}; it is not a reading table of AutoForge")
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    name = connection.dialect.identifier_preparer.format_table(table)
    connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")


def _check_type(table: Table, column: Column[Any], present: object) -> None:
    is_number, was_number = isinstance(column.type, Double), "CHAR" not in str(present).upper()
    if is_number != was_number:
        kind = "number" if was_number else "text"
        raise SchemaError(f"table {table.name}: column {column.name} holds {kind}; declare it so, or rename the metric")


def _ensure_rows(connection: Connection) -> None:
    rows = [insert(IngestStatus).values(source=source) for source in SOURCES]
    ids = {"client_id": f"autoforge-{secrets.token_hex(6)}", "notices_id": secrets.token_hex(6)}
    rows.append(insert(Installation).values(id=1, **ids))
    for row in rows:
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(row)
