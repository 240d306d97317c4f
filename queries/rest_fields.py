"""Statements on the column `rest`, the fields of readings that no metric takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select, update

from queries.readings import SAMPLES_AT_ONCE, RowKey, TimeFilter, listed


def rests(reader: Connection, table: Table, chosen: TimeFilter) -> Iterator[str]:
    """Yield the column `rest` of the readings that match and have one, as it is consumed."""
    query = listed(select(table.c.rest), table, chosen).where(table.c.rest.is_not(None))
    yield from reader.execute(query, execution_options={"yield_per": SAMPLES_AT_ONCE}).scalars()


def kept_after(
    reader: Connection, table: Table, names: Sequence[str], after: int, limit: int
) -> Sequence[RowMapping]:
    """Return the first readings above an id that have a `rest`: that, what identifies them, and
    the columns with these names."""
    shown_columns = ("id", "device_id", "timestamp", "fingerprint", "rest", *names)
    query = select(*(table.c[name] for name in shown_columns))
    query = query.where(table.c.id > after, table.c.rest.is_not(None))
    return reader.execute(query.order_by(table.c.id).limit(limit)).mappings().all()


def is_known(reader: Connection, table: Table, key: RowKey) -> bool:
    """Return whether there is a reading with this key."""
    device_id, timestamp, fingerprint = key
    query = select(table.c.id).where(
        table.c.device_id == device_id,
        table.c.timestamp == timestamp,
        table.c.fingerprint == fingerprint,
    )
    return reader.execute(query).first() is not None


def fill(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Change a reading: `id` says which, the other keys are columns."""
    changed = {name: value for name, value in row.items() if name != "id"}
    connection.execute(update(table).where(table.c.id == row["id"]).values(changed))
