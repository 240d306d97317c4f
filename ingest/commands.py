"""The states of a command, and every change of them.

`pending → sent → in_progress → succeeded | failed | rejected | expired`; the last four are final.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, case, insert, update

import queries.devices
from ingest.decoding import shown
from ingest.device_messages import Acknowledgement
from ingest.message import Applied, Rejection
from models import Command
from utils import clock

OPEN = ("pending", "sent", "in_progress")
FINAL = ("succeeded", "failed", "rejected", "expired")
EXPIRED = "the device had not finished it in time"


class State(NamedTuple):
    """What an acknowledgement is judged by."""

    device_id: str
    status: str
    reason: str | None
    result: str | None
    expires_at: datetime


def judge(state: State | None, said: Acknowledgement, moment: datetime) -> Literal["change", "repeat"] | Rejection:
    """Whether what a device said changes the command's state, repeats what is known, or cannot be."""
    if state is None or state.device_id != said.device_id:
        sentence = f"command_id: this device was sent no command {shown(said.command_id)}"
        return Rejection(None, "unknown_command", sentence, said.message)
    known = (state.status, state.reason, state.result)
    overtaken = said.status == "in_progress" and state.status in ("succeeded", "failed", "rejected")
    if overtaken or known == (said.status, said.reason, said.result):
        return "repeat"
    if state.status in FINAL and state.status == said.status:
        return "repeat"
    if state.status == "expired" or (state.status in OPEN and moment >= state.expires_at):
        sentence = f"status: {said.status} comes too late; the command expired at {clock.rfc3339(state.expires_at)}"
        return Rejection(None, "late_acknowledgement", sentence, said.message)
    if state.status in FINAL:
        sentence = f"status: {said.status} contradicts {state.status}, which is final"
        return Rejection(None, "command_is_final", sentence, said.message)
    return "change"


def acknowledge(connection: Connection, said: Sequence[Acknowledgement], moment: datetime) -> Applied:
    """Apply what devices said, in its order."""
    rows = queries.devices.commands_to_change(connection, {item.command_id for item in said})
    states = {row["command_id"]: State(*(row[name] for name in State._fields)) for row in rows}
    changed: set[str] = set()
    applied = Applied()
    for item in said:
        state = states.get(item.command_id)
        verdict = judge(state, item, item.message.received_at)
        if isinstance(verdict, Rejection):
            applied.rejections.append(verdict)
        elif verdict == "repeat":
            applied.repeated += 1
        elif state is not None:
            applied.stored += 1
            states[item.command_id] = state._replace(status=item.status, reason=item.reason, result=item.result)
            changed.add(item.command_id)
    applied.changed = sorted(changed)
    for command_id in applied.changed:
        state = states[command_id]
        values = {"status": state.status, "reason": state.reason, "result": state.result, "updated_at": moment}
        _change(connection, command_id, OPEN, values)
    return applied


def create(connection: Connection, values: dict[str, Any]) -> None:
    """Write a new command. Raises IntegrityError where its idempotency key is taken."""
    connection.execute(insert(Command).values(values))


def mark_sent(connection: Connection, command_id: str, moment: datetime) -> None:
    """The broker has the command; a device that was faster has already moved it on."""
    status = case((Command.status == "pending", "sent"), else_=Command.status)
    values = {"status": status, "sent_at": moment, "updated_at": moment}
    connection.execute(update(Command).where(Command.command_id == command_id).values(values))


def mark_unsent(connection: Connection, command_id: str, reason: str, moment: datetime) -> None:
    """The command never left; its idempotency key may be used again."""
    values = {"status": "failed", "reason": reason[:500], "idempotency_key": None, "updated_at": moment}
    _change(connection, command_id, ("pending",), values)


def expire(connection: Connection, due: Sequence[str], moment: datetime) -> list[str]:
    """End those of these commands whose time is over and that are not final; the answer is their ids."""
    values = {"status": "expired", "reason": EXPIRED, "updated_at": moment}
    return [command_id for command_id in sorted(due) if _change(connection, command_id, OPEN, values, moment)]


def _change(
    connection: Connection,
    command_id: str,
    statuses: Sequence[str],
    values: dict[str, Any],
    expired_at: datetime | None = None,
) -> bool:
    condition = update(Command).where(Command.command_id == command_id, Command.status.in_(statuses))
    if expired_at is not None:
        condition = condition.where(Command.expires_at <= expired_at)
    return connection.execute(condition.values(values)).rowcount == 1
