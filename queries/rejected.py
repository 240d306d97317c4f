"""Statements on rejected messages: their rows, the shares that bound them, and their counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, LargeBinary, Row, RowMapping, bindparam, delete, func, insert, select, update

from models import RejectedMessage, RejectedShare, RejectionCount
from queries.reader import Reader

PREVIEW = 1_024
"""Bytes of a payload that a list has."""
UNSHARED = 0
"""The share of messages without one of their own. It is always there: its row is the lock of all writers."""
_MESSAGES = RejectedMessage.metadata.tables["rejected_messages"]
_SHARES = RejectedShare.metadata.tables["rejected_shares"]
_PREVIEW = func.substr(_MESSAGES.c.payload, 1, PREVIEW, type_=LargeBinary).label("payload")
_LISTED = [column for column in _MESSAGES.c if column.name not in ("payload", "share")]
_KEPT = func.length(_MESSAGES.c.payload).label("kept")


class RejectedTotals(NamedTuple):
    """What rejected messages hold together, and how many made room for others."""

    messages: int
    bytes: int
    evicted: int


def page(reader: Reader, wanted: Mapping[str, str | None], limit: int, offset: int) -> Sequence[RowMapping]:
    """Rejected messages with the beginning of their payload, newest first; `wanted` are columns with their value."""
    query = select(*_LISTED, _PREVIEW, _KEPT).order_by(_MESSAGES.c.id.desc()).limit(limit).offset(offset)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(_MESSAGES.c[name] == value)
    return reader.execute(query).mappings().all()


def message(reader: Reader, number: int) -> RowMapping | None:
    """The rejected message with this id, its whole payload included, or None."""
    query = select(*_LISTED, _MESSAGES.c.payload, _KEPT).where(_MESSAGES.c.id == number)
    return reader.execute(query).mappings().first()


def counts(reader: Reader) -> dict[str, int]:
    """How many messages were ever rejected, by reason."""
    query = select(RejectionCount.reason, RejectionCount.count.label("count_")).order_by(RejectionCount.reason)
    return {row.reason: row.count_ for row in reader.execute(query)}


def totals(reader: Reader) -> RejectedTotals:
    """What the shares hold together."""
    sums = [func.coalesce(func.sum(_SHARES.c[name]), 0) for name in RejectedTotals._fields]
    # A database gives sums of whole numbers as decimals.
    return RejectedTotals(*map(int, reader.execute(select(*sums)).one()))


def largest_shares(reader: Reader, by: str, limit: int) -> Sequence[RowMapping]:
    """The shares that hold most, by `messages` or `bytes`."""
    query = select(_SHARES).where(_SHARES.c.messages > 0).order_by(_SHARES.c[by].desc(), _SHARES.c.share)
    return reader.execute(query.limit(limit)).mappings().all()


def lock_shares(connection: Connection) -> Sequence[Row[int, int, int, int]]:
    """Number, messages, bytes and evicted of every share; other writers wait until the transaction ends."""
    connection.execute(select(_SHARES.c.share).where(_SHARES.c.share == UNSHARED).with_for_update())
    query = select(_SHARES.c.share, _SHARES.c.messages, _SHARES.c.bytes, _SHARES.c.evicted)
    if connection.dialect.name == "mysql":
        # Its plain SELECT shows the tables as they were when the transaction began to read, before the lock.
        query = query.with_for_update()
    return connection.execute(query).all()


def oldest(connection: Connection, share: int, limit: int) -> Sequence[RowMapping]:
    """The oldest messages of a share, with what their size is known from."""
    columns = [_MESSAGES.c[name] for name in ("id", "topic", "message", "payload_size")]
    query = select(*columns).where(_MESSAGES.c.share == share).order_by(_MESSAGES.c.id).limit(limit)
    return connection.execute(query).mappings().all()


def add_messages(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert messages, each with all columns but the id."""
    connection.execute(insert(_MESSAGES), [dict(row) for row in rows])


def evict(connection: Connection, share: int, last: int) -> None:
    """Delete the messages of a share up to this id."""
    connection.execute(delete(_MESSAGES).where(_MESSAGES.c.share == share, _MESSAGES.c.id <= last))


def add_shares(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert shares, each with all columns."""
    connection.execute(insert(_SHARES), [dict(row) for row in rows])


def change_shares(connection: Connection, rows: Sequence[Mapping[str, int]]) -> None:
    """Write what shares hold now: `number`, `messages`, `bytes` and `evicted` of each."""
    connection.execute(update(_SHARES).where(_SHARES.c.share == bindparam("number")), [dict(row) for row in rows])


def drop_shares(connection: Connection, numbers: Sequence[int]) -> None:
    """Delete shares that hold nothing."""
    connection.execute(delete(_SHARES).where(_SHARES.c.share == bindparam("number")), [{"number": n} for n in numbers])


def forget(connection: Connection) -> int:
    """Delete all messages and their shares; how many there were. They count as evicted."""
    known = lock_shares(connection)
    forgotten = connection.execute(delete(_MESSAGES)).rowcount
    connection.execute(delete(_SHARES).where(_SHARES.c.share != UNSHARED))
    evicted = sum(share.messages + share.evicted for share in known)
    change_shares(connection, [{"number": UNSHARED, "messages": 0, "bytes": 0, "evicted": evicted}])
    return forgotten
