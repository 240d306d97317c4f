"""Statements on delivered batches: the newest deliveries that only a packet id can recognise."""

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, insert, select

from models import DeliveredBatch
from queries.reader import Reader

_BATCHES = DeliveredBatch.metadata.tables["delivered_batches"]


def recent(reader: Reader, first: int, window: int) -> Sequence[Row[int, str]]:
    """`first_deliveries` and `deliveries` of the batches among the last `window` of `first`.

    Oldest first.
    """
    query = select(_BATCHES.c.first_deliveries, _BATCHES.c.deliveries)
    query = query.where(_BATCHES.c.first_deliveries >= first - window)
    return reader.execute(query.order_by(_BATCHES.c.id)).all()


def record(connection: Connection, first: int, deliveries: str, window: int) -> None:
    """Keep a batch, and delete those that are more than `window` first deliveries older."""
    values = {"first_deliveries": first, "deliveries": deliveries}
    connection.execute(insert(_BATCHES).values(values))
    connection.execute(delete(_BATCHES).where(_BATCHES.c.first_deliveries < first - window))


def forget(connection: Connection) -> None:
    """Delete all of them, for a session that gives packet ids anew."""
    connection.execute(delete(_BATCHES))
