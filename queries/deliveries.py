"""Statements on `delivered_batches`: recent deliveries that only a packet id can identify."""

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, insert, select

from models import DeliveredBatch

_BATCHES = DeliveredBatch.metadata.tables["delivered_batches"]


def recent(reader: Connection, first: int, span: int) -> Sequence[Row[int, str]]:
    """Return `first_deliveries` and `deliveries` of recent batches, oldest first.

    Recent are the batches within the last `span` of the `first` first deliveries.
    """
    query = select(_BATCHES.c.first_deliveries, _BATCHES.c.deliveries)
    query = query.where(_BATCHES.c.first_deliveries >= first - span)
    return reader.execute(query.order_by(_BATCHES.c.id)).all()


def record(connection: Connection, first: int, deliveries: str, span: int) -> None:
    """Insert a batch, and delete batches that are more than `span` first deliveries older."""
    values = {"first_deliveries": first, "deliveries": deliveries}
    connection.execute(insert(_BATCHES).values(values))
    connection.execute(delete(_BATCHES).where(_BATCHES.c.first_deliveries < first - span))


def forget(connection: Connection) -> None:
    """Delete all batches: in a new session, the packet ids of an earlier one mean nothing."""
    connection.execute(delete(_BATCHES))
