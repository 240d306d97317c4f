"""Commands in the database, and what has become of them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping

import queries.commands
from database import Database
from tests.parsing import RECEIVED as NOW

BEFORE, AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def put(
    database: Database,
    *command_ids: str,
    status: str = "sent",
    device_id: str = "a",
    **changes: Any,
) -> None:
    """Commands that expire at AFTER."""
    whole = {
        "command": "restart",
        "parameters": "{}",
        "issued_at": BEFORE,
        "expires_at": AFTER,
        "updated_at": BEFORE,
    }
    whole |= {"device_id": device_id, "status": status} | changes
    with database.write() as connection, database.transaction(connection):
        for command_id in command_ids:
            queries.commands.create(connection, whole | {"command_id": command_id})


def stored(database: Database, command_id: str) -> RowMapping:
    with database.read() as reader:
        row = queries.commands.command(reader, command_id)
    assert row is not None
    return row


def statuses(database: Database, command_ids: Sequence[str]) -> list[str]:
    with database.read() as reader:
        rows = {
            row["command_id"]: row["status"]
            for row in queries.commands.commands_by_id(reader, command_ids)
        }
    return [rows[command_id] for command_id in command_ids]
