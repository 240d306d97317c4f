"""Acknowledgements: the results of commands, as reported by devices."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

import msgspec
from sqlalchemy import Connection, RowMapping

import queries.commands
from broker.message import Message
from broker.notifier import ChangeSet
from ingest.device_messages import read_object
from ingest.message import DeviceMessage, Rejection
from ingest.outcome import Applied
from ingest.showing import shown
from ingest.values import PayloadError
from models import MAX_COMMAND_ID, MAX_MESSAGE
from queries.commands import FINAL, OPEN
from streams.topics import TopicPattern
from utils import clock
from utils.clock import Uptime
from utils.identity import nesting_fault

AckStatus = Literal["in_progress", "succeeded", "failed", "rejected"]
ANSWERS: tuple[AckStatus, ...] = ("in_progress", "succeeded", "failed", "rejected")


class Acknowledgement(DeviceMessage, gc=False):
    """The result of a command, as reported by a device."""

    command_id: str
    status: AckStatus
    reason: str | None
    result: str | None
    """The result as JSON text."""


class CommandState(NamedTuple):
    """The columns of a command that decide whether an acknowledgement is accepted."""

    device_id: str
    status: str
    reason: str | None
    result: str | None
    expires_at: datetime
    boot: str | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Return the state of a stored command."""
        return cls(*(row[name] for name in cls._fields))

    def answer(self) -> dict[str, str | None]:
        """Return the columns that a device can change."""
        return {"status": self.status, "reason": self.reason, "result": self.result}

    def after(self, item: Acknowledgement) -> Self:
        """Return the state after an acknowledgement."""
        return self._replace(status=item.status, reason=item.reason, result=item.result)

    def left(self, now: datetime, up: Uptime) -> float:
        """Return the seconds until the command expires.

        On the machine that issued it, they do not depend on the clock.
        """
        if self.deadline is not None and self.boot == up.boot:
            return self.deadline - up.seconds
        return (self.expires_at - now).total_seconds()


class Acknowledgements:
    """The kind of message that acknowledges a command."""

    parsed = Acknowledgement
    stream = None

    def __init__(self, topic: TopicPattern) -> None:
        self.topic = topic

    def read(self, device_id: str, message: Message) -> Acknowledgement:
        """Read an acknowledgement. Raises PayloadError."""
        fields = read_object(message.payload)
        command_id: Any = fields.get("command_id")
        status: Any = fields.get("status")
        reason: Any = fields.get("reason")
        if fault := _fault(command_id, status, reason):
            raise PayloadError("invalid_acknowledgement", fault)
        result = fields.get("result")
        if fault := nesting_fault(result):
            raise PayloadError("too_deep", f"result: {fault}")
        text = None if result is None else msgspec.json.encode(result).decode()
        reason = reason and reason[:MAX_MESSAGE]
        return Acknowledgement(device_id, message, command_id, status, reason, text)

    def apply(
        self, connection: Connection, items: Sequence[Acknowledgement], now: datetime
    ) -> Applied:
        """Apply acknowledgements in their order. Raises DBAPIError."""
        rows = queries.commands.to_change(connection, {item.command_id for item in items})
        states = {row["command_id"]: CommandState.of(row) for row in rows}
        up = clock.uptime()
        changed: set[str] = set()
        applied = Applied(unkeyed=[item.message for item in items])
        for item in items:
            state = states.get(item.command_id)
            received = item.message.received_at
            verdict = judge(state, item, received, _uptime_at(received, up))
            if isinstance(verdict, Rejection):
                applied.rejections.append(verdict)
            elif verdict == "repeat":
                applied.duplicate += 1
            elif state is not None:
                applied.stored += 1
                states[item.command_id] = state.after(item)
                changed.add(item.command_id)
        applied.changes = ChangeSet(commands=sorted(changed))
        for command_id in applied.changes.commands:
            queries.commands.answer(connection, command_id, states[command_id].answer(), now)
        return applied


def judge(
    state: CommandState | None, item: Acknowledgement, now: datetime, up: Uptime
) -> Literal["change", "repeat"] | Rejection:
    """Return whether an acknowledgement changes the command or repeats its state, or reject it."""
    if state is None or state.device_id != item.device_id:
        text = f"command_id: this device was sent no command {shown(item.command_id)}"
        return _rejection("unknown_command", text, item)
    known = (state.status, state.reason, state.result)
    overtaken = item.status == "in_progress" and state.status in ("succeeded", "failed", "rejected")
    if overtaken or known == (item.status, item.reason, item.result):
        return "repeat"
    if state.status in FINAL and state.status == item.status:
        return "repeat"
    if state.status == "expired" or (state.status in OPEN and state.left(now, up) <= 0):
        expired_at = clock.rfc3339(state.expires_at)
        text = f"status: {item.status} is too late; the command expired at {expired_at}"
        return _rejection("late_acknowledgement", text, item)
    if state.status in FINAL:
        text = f"status: {item.status} contradicts {state.status}, which is final"
        return _rejection("command_is_final", text, item)
    return "change"


def _rejection(reason: str, text: str, item: Acknowledgement) -> Rejection:
    return Rejection(None, reason, text, item.message, item.device_id)


def _fault(command_id: Any, status: Any, reason: Any) -> str | None:
    """Return what is wrong with the fields, or None."""
    if not isinstance(command_id, str):
        return f"command_id: expected a text, not {shown(command_id)}"
    if len(command_id) > MAX_COMMAND_ID:
        return f"command_id: {len(command_id)} characters; at most {MAX_COMMAND_ID} are allowed"
    if status not in ANSWERS:
        return f"status: expected one of {', '.join(ANSWERS)}, not {shown(status)}"
    if not isinstance(reason, str | None):
        return f"reason: expected a text, not {shown(reason)}"
    return None


def _uptime_at(received_at: datetime, up: Uptime) -> Uptime:
    """Return the uptime when a message was received; it may have waited for the database since."""
    waited = (clock.now() - received_at).total_seconds()
    return up._replace(seconds=up.seconds - max(0.0, waited))
