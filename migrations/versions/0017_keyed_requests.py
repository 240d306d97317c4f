"""The requests over HTTP that can be repeated."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "keyed_requests",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("content", sa.String(32), nullable=False),
        sa.Column("received_at", Timestamp, nullable=False, index=True),
        # MySQL and MariaDB create it at once, and the start may then have been interrupted.
        if_not_exists=True,
        **MYSQL_OPTIONS,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("keyed_requests")
