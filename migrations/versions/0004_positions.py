"""Ignored messages, devices and newest values, places that are ids, and deadlines that no clock changes."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Create and change the tables."""
    op.create_table(
        "ignored_counts",
        sa.Column("source", sa.String(10), primary_key=True),
        sa.Column("reason", sa.String(40), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "stream_states",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("newest_of", LongText, nullable=False),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "devices",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("device_id", sa.String(128), primary_key=True),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("last_heard", Timestamp),
        sa.Index("ix_devices_last_heard", "stream", "last_heard"),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "newest_values",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("device_id", sa.String(128), primary_key=True),
        sa.Column("metric", sa.String(51), primary_key=True),
        sa.Column("timestamp", Timestamp, nullable=False),
        sa.Column("reading_id", sa.BigInteger, nullable=False),
        **MYSQL_OPTIONS,
    )
    op.add_column(
        "ingest_status", sa.Column("ignored", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column("commands", sa.Column("boot", sa.String(36)))
    op.add_column("commands", sa.Column("deadline", sa.Double))
    op.drop_column("analyses", "created_at")
    with op.batch_alter_table("presence") as presence:
        presence.alter_column("online", existing_type=sa.Boolean(), nullable=True)


def downgrade() -> None:
    """Drop and change them back."""
    op.execute("DELETE FROM presence WHERE online IS NULL")
    with op.batch_alter_table("presence") as presence:
        presence.alter_column("online", existing_type=sa.Boolean(), nullable=False)
    op.add_column(
        "analyses", sa.Column("created_at", Timestamp, nullable=False, server_default="1970-01-01")
    )
    for name in ("boot", "deadline"):
        op.drop_column("commands", name)
    op.drop_column("ingest_status", "ignored")
    for table in ("newest_values", "devices", "stream_states", "ignored_counts"):
        op.drop_table(table)
