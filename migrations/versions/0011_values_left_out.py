"""How many values of optional metrics were left out because they could not be read."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count."""
    count = sa.Column("values_left_out", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("ingest_status", count)


def downgrade() -> None:
    """Drop it."""
    op.drop_column("ingest_status", "values_left_out")
