"""An index of the newest value of a metric over all devices."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEX = "ix_newest_values_by_time"


def upgrade() -> None:
    """Create the index."""
    op.create_index(INDEX, "newest_values", ["stream", "metric", "timestamp", "reading_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index(INDEX, table_name="newest_values")
