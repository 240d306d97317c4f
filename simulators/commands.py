"""Commands to a board: parse, execute and answer them. Pure."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from utils import clock
from utils.text import printable

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.05, 86_400.0
LONGEST_DELAY = 60.0
_REMEMBERED = 100
_SHOWN = 60


class Malformed(Exception):
    """The message is not a command, and has no id to answer."""


class InvalidField(Exception):
    """A field of a command is invalid; the text says which one and why."""


@dataclass(frozen=True)
class BoardCommand:
    """A received command; `fault` says which of its other fields is invalid."""

    id: str
    name: str
    parameters: Mapping[str, object]
    expires_at: datetime | None = None
    fault: str = ""


@dataclass(frozen=True)
class Answer:
    """A board's answer to a command."""

    status: Literal["in_progress", "succeeded", "failed", "rejected"]
    reason: str = ""
    result: Mapping[str, object] | None = None

    def payload(self, command_id: str) -> bytes:
        """Return the acknowledgement to publish."""
        body: dict[str, object] = {"command_id": command_id, "status": self.status}
        if self.reason:
            body["reason"] = self.reason
        if self.result is not None:
            body["result"] = self.result
        return json.dumps(body).encode()


class SetInterval(NamedTuple):
    """Measure at this interval from now on."""

    seconds: float


class Restart(NamedTuple):
    """Go offline after a delay, then come back."""

    delay_seconds: float


Effect = SetInterval | Restart | None


class BoardState(NamedTuple):
    """The state of a board that its answers depend on."""

    now: datetime
    """Naive UTC."""
    uptime: float = 0.0
    """Seconds."""
    restarting: bool = False


def parse(payload: bytes) -> BoardCommand:
    """Read a command's JSON. Raises Malformed when it has no id or no name."""
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error
    if not isinstance(body, dict):
        raise Malformed("not a JSON object")
    for name in ("command_id", "command"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise Malformed(f'"{name}" must be a text that is not empty')
    try:
        parameters, expires_at = _parameters(body), _expiry(body)
    except InvalidField as error:
        return BoardCommand(body["command_id"], body["command"], {}, fault=str(error))
    return BoardCommand(body["command_id"], body["command"], parameters, expires_at)


def obey(command: BoardCommand, state: BoardState) -> tuple[Answer, Effect]:
    """Return the answer and the effect of a command; without an effect, the answer is final."""
    if command.fault:
        return _rejected(command.fault), None
    if command.expires_at is not None and command.expires_at <= state.now:
        return _rejected(f"expired at {clock.rfc3339(command.expires_at)}"), None
    known = _COMMANDS.get(command.name)
    if known is None:
        return _rejected(
            f"unknown command {_shown(command.name)}; known are {', '.join(sorted(_COMMANDS))}"
        ), None
    try:
        return known(command.parameters, state)
    except InvalidField as error:
        return _rejected(str(error)), None


class Answers:
    """The last answers to recent commands, in case a command is redelivered."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def get(self, command_id: str) -> Answer | None:
        """Return the last answer to a command, or None if it is new."""
        return self._answers.get(command_id)

    def keep(self, command_id: str, answer: Answer) -> None:
        """Keep an answer, and drop the oldest."""
        self._answers[command_id] = answer
        self._answers.move_to_end(command_id)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)


def _ping(_parameters: Mapping[str, object], state: BoardState) -> tuple[Answer, Effect]:
    return Answer("succeeded", result={"pong": True, "uptime": round(state.uptime, 3)}), None


def _set_interval(parameters: Mapping[str, object], _state: BoardState) -> tuple[Answer, Effect]:
    seconds = _number(parameters, "seconds", SHORTEST_INTERVAL, LONGEST_INTERVAL)
    return Answer("succeeded", result={"seconds": seconds}), SetInterval(seconds)


def _restart(parameters: Mapping[str, object], state: BoardState) -> tuple[Answer, Effect]:
    delay = _number({"delay_seconds": 0, **parameters}, "delay_seconds", 0, LONGEST_DELAY)
    if state.restarting:
        return _rejected("a restart is already under way"), None
    return Answer("in_progress"), Restart(delay)


_COMMANDS: Mapping[str, Callable[[Mapping[str, object], BoardState], tuple[Answer, Effect]]] = {
    "ping": _ping,
    "restart": _restart,
    "set_interval": _set_interval,
}


def _number(parameters: Mapping[str, object], name: str, least: float, most: float) -> int | float:
    value = parameters.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return value
    given = f"is {_shown(value)}, and" if name in parameters else "is missing; it"
    raise InvalidField(f'"{name}" {given} must be a number of seconds from {least:g} to {most:g}')


def _parameters(body: Mapping[str, object]) -> Mapping[str, object]:
    parameters = body.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidField(f'"parameters" is {_shown(parameters)}, and must be an object')
    return parameters


def _expiry(body: Mapping[str, object]) -> datetime | None:
    expires_at = body.get("expires_at")
    if expires_at is None:
        return None
    if not isinstance(expires_at, str):
        raise InvalidField(f'"expires_at" is {_shown(expires_at)}, and must be a time')
    try:
        return clock.parse(expires_at)
    except ValueError as error:
        raise InvalidField(f'"expires_at" is {error}') from error


def _rejected(reason: str) -> Answer:
    return Answer("rejected", reason)


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:  # a number with more digits than Python writes
        text = "a number"
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
