"""The states of a command, and every change of them.

`pending → sent → in_progress → succeeded | failed | rejected | expired`; the last four are final.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from sqlalchemy import ColumnElement, Connection, RowMapping, case, insert, update

import queries.devices
from ingest.device_messages import Acknowledgement
from ingest.message import Applied, Rejection
from ingest.values import shown
from models import Command
from utils import clock
from utils.clock import Uptime

OPEN = ("pending", "sent", "in_progress")
FINAL = ("succeeded", "failed", "rejected", "expired")
EXPIRED = "the device had not finished it in time"
INTERRUPTED = "interrupted; perhaps never sent"


class State(NamedTuple):
    """What an acknowledgement is judged by."""

    device_id: str
    status: str
    reason: str | None
    result: str | None
    expires_at: datetime
    boot: str | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """The state of a stored command."""
        return cls(*(row[name] for name in cls._fields))

    def left(self, moment: datetime, up: Uptime) -> float:
        """Seconds until it expires; on the machine that issued it no change of the clock touches them."""
        if self.deadline is not None and self.boot == up.boot:
            return self.deadline - up.seconds
        return (self.expires_at - moment).total_seconds()


def judge(
    state: State | None, said: Acknowledgement, moment: datetime, up: Uptime
) -> Literal["change", "repeat"] | Rejection:
    """Whether what a device said changes the command's state, repeats what is known, or cannot be."""
    if state is None or state.device_id != said.device_id:
        sentence = f"command_id: this device was sent no command {shown(said.command_id)}"
        return Rejection(None, "unknown_command", sentence, said.message, said.device_id)
    known = (state.status, state.reason, state.result)
    overtaken = said.status == "in_progress" and state.status in ("succeeded", "failed", "rejected")
    if overtaken or known == (said.status, said.reason, said.result):
        return "repeat"
    if state.status in FINAL and state.status == said.status:
        return "repeat"
    if state.status == "expired" or (state.status in OPEN and state.left(moment, up) <= 0):
        sentence = f"status: {said.status} comes too late; the command expired at {clock.rfc3339(state.expires_at)}"
        return Rejection(None, "late_acknowledgement", sentence, said.message, said.device_id)
    if state.status in FINAL:
        sentence = f"status: {said.status} contradicts {state.status}, which is final"
        return Rejection(None, "command_is_final", sentence, said.message, said.device_id)
    return "change"


def acknowledge(connection: Connection, said: Sequence[Acknowledgement], moment: datetime) -> Applied:
    """Apply what devices said, in its order."""
    rows = queries.devices.commands_to_change(connection, {item.command_id for item in said})
    states = {row["command_id"]: State.of(row) for row in rows}
    up = clock.uptime()
    changed: set[str] = set()
    applied = Applied()
    for item in said:
        state = states.get(item.command_id)
        verdict = judge(state, item, item.message.received_at, _then(up, item.message.received_at))
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


def interrupt(connection: Connection, command_id: str, moment: datetime) -> None:
    """End a command that nobody sends any more, if it is still pending: its idempotency key may be used again."""
    _change(connection, command_id, ("pending",), _interrupted(moment))


def expire(connection: Connection, due: Sequence[str], moment: datetime) -> list[str]:
    """End those of these commands whose time is over and that are not final; the answer is their ids.

    Of one that is still pending nobody knows whether it was sent: its idempotency key may be used again.
    """
    over = queries.devices.is_over(moment, clock.uptime())
    values = {"status": "expired", "reason": EXPIRED, "updated_at": moment}
    return [
        command_id
        for command_id in sorted(due)
        if _change(connection, command_id, ("pending",), _interrupted(moment), over)
        or _change(connection, command_id, OPEN, values, over)
    ]


def _interrupted(moment: datetime) -> dict[str, Any]:
    return {"status": "expired", "reason": INTERRUPTED, "idempotency_key": None, "updated_at": moment}


def _then(up: Uptime, received_at: datetime) -> Uptime:
    """How long the machine ran when a message came, which may have waited for the database since."""
    waited = (clock.now() - received_at).total_seconds()
    return up._replace(seconds=up.seconds - max(0.0, waited))


def _change(
    connection: Connection,
    command_id: str,
    statuses: Sequence[str],
    values: dict[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    condition = update(Command).where(Command.command_id == command_id, Command.status.in_(statuses), *conditions)
    return connection.execute(condition.values(values)).rowcount == 1
