"""What the session in use was told as its marker, instead of a digest of the client id that others could compute."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the next ingester draws a token."""
    op.add_column("installation", sa.Column("session_token", sa.String(40)))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("installation", "session_token")
