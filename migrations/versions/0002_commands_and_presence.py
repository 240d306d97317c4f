"""Commands with their state, and which devices are online."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
Identifier = sa.BigInteger().with_variant(sa.Integer, "sqlite")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "commands",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("command_id", sa.String(36), nullable=False, unique=True),
        sa.Column("device_id", sa.String(128), nullable=False),
        sa.Column("command", sa.String(64), nullable=False),
        sa.Column("parameters", LongText, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("result", LongText),
        sa.Column("idempotency_key", sa.String(255), unique=True),
        sa.Column("issued_at", Timestamp, nullable=False),
        sa.Column("expires_at", Timestamp, nullable=False),
        sa.Column("sent_at", Timestamp),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Index("ix_commands_device_id", "device_id", "id"),
        sa.Index("ix_commands_status", "status", "expires_at"),
        sa.Index("ix_commands_updated_at", "updated_at"),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "presence",
        sa.Column("device_id", sa.String(128), primary_key=True),
        sa.Column("online", sa.Boolean, nullable=False),
        sa.Column("changed_at", Timestamp, nullable=False),
        **MYSQL_OPTIONS,
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("presence", "commands"):
        op.drop_table(table)
