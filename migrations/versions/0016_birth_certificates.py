"""The birth certificates of Sparkplug."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
Bytes = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "birth_certificates",
        sa.Column("node", sa.String(400), primary_key=True),
        sa.Column("device", sa.String(128), primary_key=True),
        sa.Column("metrics", Bytes, nullable=False),
        # MySQL and MariaDB create it at once, and the start may then have been interrupted.
        if_not_exists=True,
        **MYSQL_OPTIONS,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("birth_certificates")
