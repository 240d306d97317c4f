"""The names of fields that no metric takes, by device."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rest_names",
        sa.Column("stream", sa.String(40), primary_key=True),
        sa.Column("device_id", sa.String(128), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("rest_names")
