"""Shares of rejected messages, so that no device's can use up the room of the others."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
MAX_PAYLOAD, KEPT, ROW_BYTES = 65_536, 4_096, 200
MAX_SHARES = 1_000
MAX_REWRITTEN = 256_000_000
"""Bytes; SQLite writes a row anew with its whole payload. What is older counts in the share that is nobody's."""
PAGE, CHUNK = 2_000, 500
Figures = list[int]
"""Messages and bytes."""

messages = sa.table(
    "rejected_messages",
    *map(sa.column, ("id", "topic", "payload_size", "reason", "message", "share")),
)
counts = sa.table("rejection_counts", sa.column("count"))
_NAMES = ("share", "stream", "device_id", "topic", "reason", "messages", "bytes", "evicted")
shares = sa.table("rejected_shares", *map(sa.column, _NAMES))
COLUMNS: list[sa.Column[Any]] = [
    sa.Column("device_id", sa.String(128)),
    sa.Column("share", sa.BigInteger, nullable=False, server_default="0"),
]
INDEXES = {
    "ix_rejected_messages_stream": ["stream"],
    "ix_rejected_messages_device_id": ["device_id"],
    "ix_rejected_messages_share": ["share", "id"],
}


def upgrade() -> None:
    """Create the table and the columns, and count what is there."""
    # MySQL commits with every change of a table: what was interrupted while it counted begins again here.
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table("rejected_shares"):
        _create_table()
    present = {column["name"] for column in inspector.get_columns("rejected_messages")}
    for column in COLUMNS:
        if column.name not in present:
            fresh = sa.Column(
                column.name,
                column.type,
                nullable=column.nullable,
                server_default=column.server_default,
            )
            op.add_column("rejected_messages", fresh)
    indexed = {index["name"] for index in inspector.get_indexes("rejected_messages")}
    for name, columns in INDEXES.items():
        if name not in indexed:
            op.create_index(name, "rejected_messages", columns)
    op.execute(sa.delete(shares))
    op.bulk_insert(shares, _fill(op.get_bind()))


def _create_table() -> None:
    op.create_table(
        "rejected_shares",
        sa.Column("share", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stream", sa.String(40)),
        sa.Column("device_id", sa.String(128)),
        sa.Column("topic", sa.String(255)),
        sa.Column("reason", sa.String(40)),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("messages", "bytes", "evicted")
        ),
        **MYSQL_OPTIONS,
    )


def _fill(connection: sa.Connection) -> list[dict[str, Any]]:
    """Put the rows into shares by topic and reason, and tell the shares."""
    named: dict[int, dict[str, Any]] = {}
    figures: dict[int, Figures] = defaultdict(lambda: [0, 0])
    members: dict[int, list[int]] = defaultdict(list)
    left = MAX_REWRITTEN
    for row in _rows(connection):
        weight = _weight(row)
        left -= weight
        share, name = _share(row, named) if left >= 0 else (0, {})
        named.setdefault(share, name)
        figures[share][0] += 1
        figures[share][1] += weight
        members[share].append(row.id)
    members.pop(0, None)
    for share, ids in members.items():
        _write(connection, share, ids)
    named.setdefault(0, {})
    evicted = (connection.scalar(sa.select(sa.func.sum(counts.c.count))) or 0) - sum(
        f[0] for f in figures.values()
    )
    return [_told(share, name, figures[share], int(evicted)) for share, name in named.items()]


def _rows(connection: sa.Connection) -> Iterator[sa.Row[Any]]:
    """Newest first, without their payloads."""
    columns = [messages.c[name] for name in ("id", "topic", "payload_size", "reason", "message")]
    query, last = sa.select(*columns).order_by(messages.c.id.desc()).limit(PAGE), None
    while rows := connection.execute(
        query if last is None else query.where(messages.c.id < last)
    ).all():
        yield from rows
        last = rows[-1].id


def _share(row: sa.Row[Any], known: dict[int, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    own = _number("topic", row.topic, row.reason)
    if own in known or len(known) < MAX_SHARES:
        return own, {"topic": row.topic[:255], "reason": row.reason}
    return _number("others", row.reason), {"reason": row.reason}


def _weight(row: sa.Row[Any]) -> int:
    kept = row.payload_size if row.payload_size <= MAX_PAYLOAD else KEPT
    return int(kept + len(row.topic.encode()) + len(row.message.encode()) + ROW_BYTES)


def _write(connection: sa.Connection, share: int, ids: Sequence[int]) -> None:
    for begin in range(0, len(ids), CHUNK):
        chunk = messages.c.id.in_(ids[begin : begin + CHUNK])
        connection.execute(sa.update(messages).where(chunk).values(share=share))


def _told(share: int, name: dict[str, Any], figures: Figures, evicted: int) -> dict[str, Any]:
    empty = {"stream": None, "device_id": None, "topic": None, "reason": None}
    told = {
        "share": share,
        "messages": figures[0],
        "bytes": figures[1],
        "evicted": 0 if share else max(0, evicted),
    }
    return empty | name | told


def _number(*parts: str) -> int:
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def downgrade() -> None:
    """Drop them."""
    for name in INDEXES:
        op.drop_index(name, "rejected_messages")
    for column in COLUMNS:
        op.drop_column("rejected_messages", column.name)
    op.drop_table("rejected_shares")
