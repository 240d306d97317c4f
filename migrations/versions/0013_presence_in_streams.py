"""Presence in one stream, beside the presence in all of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
ADDED = (
    "ADD COLUMN stream VARCHAR(40) NOT NULL DEFAULT '', ADD COLUMN place BIGINT NOT NULL DEFAULT 0"
)
KEY = "ADD CONSTRAINT presence_pkey PRIMARY KEY"


def upgrade() -> None:
    """Add the stream to the key; what is there holds for all streams."""
    connection = op.get_bind()
    present = {column["name"] for column in sa.inspect(connection).get_columns("presence")}
    if "stream" in present:
        # MySQL and MariaDB commit a change at once, and the start may then have been interrupted.
        return
    if connection.dialect.name == "sqlite":
        stream = sa.Column("stream", sa.String(40), primary_key=True, server_default="")
        place = sa.Column("place", sa.BigInteger, nullable=False, server_default="0")
        _make_anew([stream], [place])
    else:
        op.execute(f"ALTER TABLE presence {ADDED}, {_dropped_key()}, {KEY} (device_id, stream)")


def downgrade() -> None:
    """Drop what was said in one stream, and the columns."""
    op.execute("DELETE FROM presence WHERE stream <> ''")
    if op.get_bind().dialect.name == "sqlite":
        _make_anew([], [])
    else:
        dropped = "DROP COLUMN stream, DROP COLUMN place"
        op.execute(f"ALTER TABLE presence {_dropped_key()}, {KEY} (device_id), {dropped}")


def _dropped_key() -> str:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    return "DROP CONSTRAINT presence_pkey" if is_postgresql else "DROP PRIMARY KEY"


def _make_anew(keys: list[sa.Column[str]], others: list[sa.Column[int]]) -> None:
    """Make the table with these columns more: SQLite cannot change a key."""
    anew = op.create_table(
        "presence_anew",
        sa.Column("device_id", sa.String(128), primary_key=True),
        *keys,
        sa.Column("online", sa.Boolean),
        sa.Column("changed_at", Timestamp, nullable=False),
        *others,
    )
    kept: list[sa.ColumnClause[str]] = [
        sa.column(name) for name in ("device_id", "online", "changed_at")
    ]
    present = sa.select(*kept).select_from(sa.table("presence"))
    op.execute(anew.insert().from_select([column.name for column in kept], present))
    op.drop_table("presence")
    op.rename_table("presence_anew", "presence")
