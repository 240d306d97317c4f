"""How often each device has sent no value of an optional metric, or one that could not be read."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Create the table; the counts begin now."""
    op.create_table(
        "metric_quality",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("device_id", sa.String(128), primary_key=True),
        sa.Column("metric", sa.String(51), primary_key=True),
        sa.Column("missing", sa.BigInteger, nullable=False),
        sa.Column("unreadable", sa.BigInteger, nullable=False),
        sa.Column("last_example", sa.String(100), nullable=False),
        sa.Column("last_at", Timestamp, nullable=False),
        **MYSQL_OPTIONS,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("metric_quality")
