"""The fixed tables: installation, rejected messages and counts, state of the ingester, newest deliveries."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
Identifier = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Bytes = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "installation",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("client_id", sa.String(65), nullable=False),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "rejected_messages",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("stream", sa.String(40)),
        sa.Column("topic", sa.String(1024), nullable=False),
        sa.Column("payload", Bytes, nullable=False),
        sa.Column("payload_size", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False, index=True),
        sa.Column("message", sa.String(500), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False, index=True),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "rejection_counts",
        sa.Column("reason", sa.String(40), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "ingest_status",
        sa.Column("source", sa.String(10), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("received", "stored", "duplicate", "rejected")
        ),
        sa.Column("best_effort", sa.BigInteger, nullable=False),
        sa.Column("first_deliveries", sa.BigInteger, nullable=False),
        sa.Column("last_batch_at", Timestamp),
        sa.Column("holder", sa.String(200)),
        sa.Column("heartbeat_at", Timestamp),
        sa.Column("connected", sa.Boolean, nullable=False),
        sa.Column("subscribed", sa.Boolean, nullable=False),
        sa.Column("problem", sa.String(300)),
        sa.Column("changed_at", Timestamp),
        **MYSQL_OPTIONS,
    )
    op.create_table(
        "delivered_batches",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("first_deliveries", sa.BigInteger, nullable=False, index=True),
        sa.Column("deliveries", LongText, nullable=False),
        **MYSQL_OPTIONS,
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "delivered_batches",
        "ingest_status",
        "rejection_counts",
        "rejected_messages",
        "installation",
    ):
        op.drop_table(table)
