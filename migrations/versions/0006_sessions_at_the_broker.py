"""What is known of the session at the broker; a client id that was served is replaced by one that nobody knows."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
COLUMNS: dict[str, Any] = {
    "retired_client_id": sa.String(65),
    "handover": sa.String(40),
    "session_client_id": sa.String(65),
    "session_broker": sa.String(300),
    "session_since": Timestamp,
    "session_filters": LongText,
    "forgotten_at": Timestamp,
    "evicted_at": Timestamp,
}


def upgrade() -> None:
    """Add the columns; the session of the old client id is emptied and ended by the next ingester."""
    op.add_column(
        "installation", sa.Column("notices_id", sa.String(40), nullable=False, server_default="")
    )
    for name, kind in COLUMNS.items():
        op.add_column("installation", sa.Column(name, kind))
    installation = sa.table(
        "installation", *map(sa.column, ("client_id", "retired_client_id", "notices_id"))
    )
    # In two statements: MySQL would see the new client id in the second assignment.
    op.execute(installation.update().values(retired_client_id=installation.c.client_id))
    ids = {"client_id": f"autoforge-{secrets.token_hex(6)}", "notices_id": secrets.token_hex(6)}
    op.execute(installation.update().values(**ids))


def downgrade() -> None:
    """Drop them; the old client id does not come back."""
    for name in ("notices_id", *COLUMNS):
        op.drop_column("installation", name)
