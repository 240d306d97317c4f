"""Statements on `commands`, and the states of a command.

`pending → sent → in_progress → succeeded | failed | rejected | expired`; the last four are final.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from models import MAX_MESSAGE, Command
from queries.reader import in_chunks
from utils.clock import Uptime

OPEN = ("pending", "sent", "in_progress")
FINAL = ("succeeded", "failed", "rejected", "expired")
EXPIRED = "the device had not finished it in time"
INTERRUPTED = "interrupted; perhaps never sent"
_COMMANDS = Command.metadata.tables["commands"]


def command(reader: Connection, command_id: str) -> RowMapping | None:
    """Return the command with this id, or None."""
    query = select(_COMMANDS).where(_COMMANDS.c.command_id == command_id)
    return reader.execute(query).mappings().first()


def command_with_key(reader: Connection, key: str) -> RowMapping | None:
    """Return the command that was issued with this idempotency key, or None."""
    query = select(_COMMANDS).where(_COMMANDS.c.idempotency_key == key)
    return reader.execute(query).mappings().first()


def commands(
    reader: Connection, device_id: str | None, status: str | None, limit: int
) -> Sequence[RowMapping]:
    """Return commands, newest first, of one device or status if given."""
    query = select(_COMMANDS).order_by(_COMMANDS.c.id.desc()).limit(limit)
    if device_id is not None:
        query = query.where(_COMMANDS.c.device_id == device_id)
    if status is not None:
        query = query.where(_COMMANDS.c.status == status)
    return reader.execute(query).mappings().all()


def commands_by_id(reader: Connection, command_ids: Iterable[str]) -> Sequence[RowMapping]:
    """Return the commands with these ids."""
    return in_chunks(reader, select(_COMMANDS), _COMMANDS.c.command_id, command_ids)


def commands_since(
    reader: Connection, since: datetime, device_id: str | None
) -> Sequence[RowMapping]:
    """Return the newest 1,000 commands that changed at `since` or later, oldest change first.

    With `device_id`, only commands of that device.
    """
    query = select(_COMMANDS).where(_COMMANDS.c.updated_at >= since)
    if device_id is not None:
        query = query.where(_COMMANDS.c.device_id == device_id)
    query = query.order_by(_COMMANDS.c.updated_at.desc(), _COMMANDS.c.id.desc()).limit(1000)
    return reader.execute(query).mappings().all()[::-1]


def to_change(connection: Connection, command_ids: Iterable[str]) -> Sequence[RowMapping]:
    """Return the commands with these ids, locked until the transaction ends."""
    query = select(_COMMANDS).with_for_update()
    return in_chunks(connection, query, _COMMANDS.c.command_id, command_ids)


def due(reader: Connection, now: datetime, up: Uptime) -> Sequence[str]:
    """Return the ids of up to 1,000 open commands that have expired, in the order of issue."""
    query = select(Command.command_id).where(Command.status.in_(OPEN), _is_over(now, up))
    return reader.scalars(query.order_by(Command.id).limit(1000)).all()


def create(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a command. Raises IntegrityError if its idempotency key is taken."""
    connection.execute(insert(Command).values(values))


def answer(
    connection: Connection, command_id: str, answered: Mapping[str, str | None], now: datetime
) -> None:
    """Write the `status`, `reason` and `result` that a device reported for an open command."""
    _change(connection, command_id, OPEN, {**answered, "updated_at": now})


def mark_sent(connection: Connection, command_id: str, now: datetime) -> None:
    """Record that the broker has the command; keep a status that the device already reported."""
    status = case((Command.status == "pending", "sent"), else_=Command.status)
    values = {"status": status, "sent_at": now, "updated_at": now}
    connection.execute(update(Command).where(Command.command_id == command_id).values(values))


def mark_unsent(connection: Connection, command_id: str, reason: str, now: datetime) -> None:
    """Record that the command was never sent; its idempotency key may be used again."""
    values = {
        "status": "failed",
        "reason": reason[:MAX_MESSAGE],
        "idempotency_key": None,
        "updated_at": now,
    }
    _change(connection, command_id, ("pending",), values)


def interrupt(connection: Connection, command_id: str, now: datetime) -> None:
    """Expire a pending command that no process will send; its idempotency key may be used again."""
    _change(connection, command_id, ("pending",), _interrupted(now))


def expire(
    connection: Connection, command_ids: Sequence[str], now: datetime, up: Uptime
) -> list[str]:
    """Expire the given commands that are due and not final; return their ids.

    It is unknown whether a pending command was sent, so its idempotency key may be used again.
    """
    over = _is_over(now, up)
    values = {"status": "expired", "reason": EXPIRED, "updated_at": now}
    return [
        command_id
        for command_id in sorted(command_ids)
        if _change(connection, command_id, ("pending",), _interrupted(now), over)
        or _change(connection, command_id, OPEN, values, over)
    ]


def _is_over(now: datetime, up: Uptime) -> ColumnElement[bool]:
    # The machine that issued the command compares uptimes, which no clock step affects.
    here = func.coalesce(Command.boot, "") == (up.boot or "-")
    over_here = and_(here, Command.deadline <= up.seconds)
    return or_(over_here, and_(~here, Command.expires_at <= now))


def _interrupted(now: datetime) -> dict[str, Any]:
    return {
        "status": "expired",
        "reason": INTERRUPTED,
        "idempotency_key": None,
        "updated_at": now,
    }


def _change(
    connection: Connection,
    command_id: str,
    statuses: Sequence[str],
    values: dict[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    own = Command.command_id == command_id
    statement = update(Command).where(own, Command.status.in_(statuses), *conditions)
    return connection.execute(statement.values(values)).rowcount == 1
