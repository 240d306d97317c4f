"""The presence that a database has from before holds for all streams, on every kind of database."""

from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.engine import make_url

import queries.presence
from database import Database
from ingest.presence import PresenceState
from streams.registry import Streams
from tests import earlier_version
from utils import clock

BEFORE = "0012"
ROWS: list[dict[str, Any]] = [
    {"device_id": "a", "online": True, "changed_at": "2026-01-29 14:30:45.123456"},
    {"device_id": "A", "online": False, "changed_at": "2026-01-29 14:30:46.000000"},
    {"device_id": "🌡", "online": None, "changed_at": "2026-01-29 14:30:47.000000"},
]
INSERT = (
    "INSERT INTO presence (device_id, online, changed_at) VALUES (:device_id, :online, :changed_at)"
)


@pytest.mark.database
def test_no_row_is_lost(bare_database_url: str, streams: Streams) -> None:
    database = Database(make_url(bare_database_url), streams)
    with database.engine.begin() as connection:
        command.upgrade(earlier_version.migrations(connection), BEFORE)
        connection.execute(text(INSERT), ROWS)
    database.prepare()
    with database.write() as connection, database.transaction(connection):
        rows = queries.presence.presence(connection, ["a", "A", "🌡"])
        kept = {(row["stream"], row["device_id"], row["online"], row["place"]) for row in rows}
        assert kept == {("", "a", True, 0), ("", "A", False, 0), ("", "🌡", None, 0)}
        (moment,) = (str(row["changed_at"]) for row in rows if row["device_id"] == "a")
        assert moment == ROWS[0]["changed_at"]
        said = {("a", "plugs"): PresenceState(online=False, place=1)}
        queries.presence.add(connection, said, clock.now())
    with database.engine.begin() as connection:
        earlier_version.downgrade(connection, BEFORE)
        left = connection.execute(text("SELECT device_id FROM presence")).scalars()
        assert sorted(left) == ["A", "a", "🌡"]
    database.close()
