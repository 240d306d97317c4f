"""Up to where analyses are published, and how fast the ingester is."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
FIGURES = ("messages_per_second", "processing_ms")


def upgrade() -> None:
    """Create the table and the columns."""
    op.create_table(
        "analyses",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("reading_id", sa.BigInteger, nullable=False),
        **MYSQL_OPTIONS,
    )
    for name in FIGURES:
        op.add_column("ingest_status", sa.Column(name, sa.Double))
    op.add_column(
        "ingest_status", sa.Column("waiting", sa.Integer, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Drop them."""
    for name in (*FIGURES, "waiting"):
        op.drop_column("ingest_status", name)
    op.drop_table("analyses")
