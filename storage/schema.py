"""Brings the database's tables up to the models and the declared streams; adds, never drops."""

import contextlib
import secrets
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Column, Connection, Table, insert, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateColumn

from config import PROJECT
from models import IngestStatus, Installation
from storage.dialect import Dialect
from storage.failures import Unavailable
from storage.reading_tables import type_in

SOURCES = ("mqtt", "http")
MIGRATIONS = PROJECT / "migrations"


class SchemaError(Unavailable):
    """A table of the database does not fit its declaration; the text says which, and what to do."""


def bring_up_to_date(
    connection: Connection,
    dialect: Dialect,
    tables: Mapping[str, Table],
    client_id: str | None = None,
) -> dict[str, str]:
    """Run the migrations, create missing reading tables and add missing columns.

    `tables` holds the reading tables by stream; `client_id` is for a database that has none yet.
    Returns the streams whose tables do not fit, and why. Raises SchemaError.
    """
    _migrate(connection)
    errors = {name: _error(connection, dialect, table) for name, table in tables.items()}
    _ensure_rows(connection, client_id)
    return {name: error for name, error in errors.items() if error is not None}


def _migrate(connection: Connection) -> None:
    if _version(connection) == [_newest()]:
        return
    # Most starts need no migration, and Alembic takes a sixth of the time of a start.
    from storage import migrations  # noqa: PLC0415 - see above

    try:
        migrations.upgrade(connection, MIGRATIONS)
    except migrations.Unknown as error:
        made = "it was made by another version of AutoForge, which is needed to use it"
        raise SchemaError(f"{made}: {error}") from error


def _version(connection: Connection) -> list[str]:
    if not inspect(connection).has_table("alembic_version"):
        return []
    return list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())


def _newest() -> str:
    """Return the newest version: the name of a migration begins with its number."""
    names = [path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    return max(names).partition("_")[0]


def _error(connection: Connection, dialect: Dialect, table: Table) -> str | None:
    """Create or extend a table; returns what is wrong with it, which concerns no other table."""
    try:
        with _savepoint(connection):
            _create_or_extend(connection, table)
    except SchemaError as error:
        return str(error)
    except DBAPIError as error:
        if not dialect.refuses_table(error):
            raise
        return f"table {table.name}: {dialect.reason(error)}"
    return None


def _savepoint(connection: Connection) -> AbstractContextManager[object]:
    # MySQL commits before and after each change of a table.
    if connection.dialect.name == "mysql":
        return contextlib.nullcontext()
    return connection.begin_nested()


def _create_or_extend(connection: Connection, table: Table) -> None:
    inspector = inspect(connection)
    if not inspector.has_table(table.name):
        table.create(connection)
        return
    present = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
    _extend(connection, table, present)
    indexes = {str(index["name"]) for index in inspector.get_indexes(table.name)}
    _add_indexes(connection, table, indexes)


def _extend(connection: Connection, table: Table, present: Mapping[str, object]) -> None:
    by_folded = {name.lower(): name for name in sorted(present)}
    for column in table.columns:
        name = column.name if column.name in present else by_folded.get(column.name.lower())
        if name is None:
            _add_column(connection, table, column)
            continue
        if column.nullable:
            _check_type(table, column, present[name])
        # The other databases do not distinguish case here.
        if name != column.name and connection.dialect.name == "postgresql":
            _rename(connection, table, name, column)


def _add_indexes(connection: Connection, table: Table, present: Collection[str]) -> None:
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if not index.unique and index.name not in present:
            index.create(connection)


def _rename(connection: Connection, table: Table, name: str, column: Column[Any]) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    change = f"RENAME COLUMN {quote(name)} TO {quote(column.name)}"
    connection.exec_driver_sql(f"ALTER TABLE {quote(table.name)} {change}")


def _add_column(connection: Connection, table: Table, column: Column[Any]) -> None:
    if not column.nullable:
        missing = f"table {table.name}: has no column {column.name}"
        raise SchemaError(f"{missing}; it is not a reading table of AutoForge")
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    name = connection.dialect.identifier_preparer.format_table(table)
    connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")


def _check_type(table: Table, column: Column[Any], present: object) -> None:
    kind = type_in(present)
    if kind != type_in(column.type):
        found = f"table {table.name}: column {column.name} holds {kind}"
        raise SchemaError(f"{found}; declare it as {kind}, or rename the metric")


def _ensure_rows(connection: Connection, client_id: str | None) -> None:
    rows = [insert(IngestStatus).values(source=source) for source in SOURCES]
    # If the file was taken away its client id stays: the broker keeps messages for it.
    client_id = client_id or f"autoforge-{secrets.token_hex(6)}"
    ids = {"client_id": client_id, "notices_id": secrets.token_hex(6)}
    rows.append(insert(Installation).values(id=1, **ids))
    for row in rows:
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(row)
