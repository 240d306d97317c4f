"""Statements on `rejected_messages`, the shares that bound them, and their counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Insert,
    LargeBinary,
    Row,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from models import RejectedMessage, RejectedShare, RejectionCount
from queries.encodings import held
from queries.upserts import Upsert, counting

PREVIEW = 1_024
"""Bytes of each payload in a list."""
UNSHARED = 0
"""The share of messages without a share of their own; its row always exists and is the lock."""
_MESSAGES = RejectedMessage.metadata.tables["rejected_messages"]
_SHARES = RejectedShare.metadata.tables["rejected_shares"]
_PREVIEW = func.substr(_MESSAGES.c.payload, 1, PREVIEW, type_=LargeBinary).label("payload")
_LISTED = [column for column in _MESSAGES.c if column.name not in ("payload", "share")]
_KEPT = func.length(_MESSAGES.c.payload).label("kept")


class RejectedTotals(NamedTuple):
    """The totals of the rejected messages that are kept, and how many were evicted."""

    messages: int
    bytes: int
    evicted: int


def page(
    reader: Connection, wanted: Mapping[str, str | None], limit: int, offset: int
) -> Sequence[RowMapping]:
    """Return rejected messages with the start of their payloads, newest first.

    `wanted` maps columns to the values they must have; None matches any value.
    """
    query = select(*_LISTED, _PREVIEW, _KEPT).order_by(_MESSAGES.c.id.desc())
    query = query.limit(limit).offset(offset)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(_MESSAGES.c[name] == value)
    return reader.execute(query).mappings().all()


def message(reader: Connection, number: int) -> RowMapping | None:
    """Return the rejected message with this id and its whole payload, or None."""
    query = select(*_LISTED, _MESSAGES.c.payload, _KEPT).where(_MESSAGES.c.id == number)
    return reader.execute(query).mappings().first()


def counts(reader: Connection) -> dict[str, int]:
    """Return how many messages were ever rejected, by reason."""
    query = select(RejectionCount.reason, RejectionCount.count.label("count_"))
    rows = reader.execute(query.order_by(RejectionCount.reason))
    return {row.reason: row.count_ for row in rows}


def counting_rejected(upsert: Upsert) -> Insert:
    """Return the upsert of `reason` and `count` that adds to the rejected messages."""
    return counting(upsert, RejectionCount, ("reason",))


def totals(reader: Connection) -> RejectedTotals:
    """Return the sums over all shares."""
    sums = [func.coalesce(func.sum(_SHARES.c[name]), 0) for name in RejectedTotals._fields]
    # Some databases return the sum of integers as a decimal.
    return RejectedTotals(*map(int, reader.execute(select(*sums)).one()))


def largest_shares(reader: Connection, by: str, limit: int) -> Sequence[RowMapping]:
    """Return the largest shares, by `messages` or `bytes`."""
    query = select(_SHARES).where(_SHARES.c.messages > 0)
    query = query.order_by(_SHARES.c[by].desc(), _SHARES.c.share).limit(limit)
    return reader.execute(query).mappings().all()


def lock_shares(connection: Connection) -> Sequence[Row[int, int, int, int]]:
    """Lock the shares for this transaction; return number, messages, bytes and evicted of each."""
    connection.execute(select(_SHARES.c.share).where(_SHARES.c.share == UNSHARED).with_for_update())
    query = select(_SHARES.c.share, _SHARES.c.messages, _SHARES.c.bytes, _SHARES.c.evicted)
    if connection.dialect.name == "mysql":
        # A plain SELECT would read the snapshot of the transaction, from before the lock.
        query = query.with_for_update()
    return connection.execute(query).all()


def oldest(connection: Connection, share: int, limit: int) -> Sequence[RowMapping]:
    """Return the oldest messages of a share, with the columns that determine their size."""
    columns = [_MESSAGES.c[name] for name in ("id", "topic", "message", "payload_size")]
    query = select(*columns, _KEPT).where(_MESSAGES.c.share == share)
    return connection.execute(query.order_by(_MESSAGES.c.id).limit(limit)).mappings().all()


def add_messages(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert messages; each row has all columns except the id."""
    connection.execute(insert(_MESSAGES), [held(connection, _MESSAGES, row) for row in rows])


def evict(connection: Connection, share: int, last: int) -> None:
    """Delete the messages of a share up to the id `last`."""
    connection.execute(delete(_MESSAGES).where(_MESSAGES.c.share == share, _MESSAGES.c.id <= last))


def add_shares(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert shares; each row has all columns."""
    connection.execute(insert(_SHARES), [held(connection, _SHARES, row) for row in rows])


def change_shares(connection: Connection, rows: Sequence[Mapping[str, int]]) -> None:
    """Update shares; each row has `number`, `messages`, `bytes` and `evicted`."""
    statement = update(_SHARES).where(_SHARES.c.share == bindparam("number"))
    connection.execute(statement, [dict(row) for row in rows])


def drop_shares(connection: Connection, numbers: Sequence[int]) -> None:
    """Delete empty shares."""
    statement = delete(_SHARES).where(_SHARES.c.share == bindparam("number"))
    connection.execute(statement, [{"number": number} for number in numbers])


def forget(connection: Connection) -> int:
    """Delete all messages and shares; count them as evicted and return how many there were."""
    known = lock_shares(connection)
    forgotten = connection.execute(delete(_MESSAGES)).rowcount
    connection.execute(delete(_SHARES).where(_SHARES.c.share != UNSHARED))
    evicted = sum(share.messages + share.evicted for share in known)
    change_shares(connection, [{"number": UNSHARED, "messages": 0, "bytes": 0, "evicted": evicted}])
    return forgotten
