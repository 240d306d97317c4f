"""How many readings were stored, known already and rejected; a message can have several."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
COUNTS = ("readings_stored", "readings_duplicate", "readings_rejected")


def upgrade() -> None:
    """Add the counts, which begin now."""
    for name in COUNTS:
        count = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column("ingest_status", count)


def downgrade() -> None:
    """Drop them."""
    for name in COUNTS:
        op.drop_column("ingest_status", name)
