"""Issue commands to devices and track them to a final state."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, RowMapping

import queries.commands
from broker.notifier import ChangeSet
from broker.publisher import Publisher, PublishError
from database import BadData, Database, Unavailable
from ingest.acknowledgements import CommandState
from jobs.job import Job
from services.waiting import HeldRequests, Waiting
from streams.topics import TopicPattern
from utils import clock

LONGEST_SLEEP = 1.0
"""The longest sleep of a waiting request, in seconds, in case a change notification is lost."""
PENDING_SECONDS = 30.0
"""After this a `pending` command was interrupted: storing it and the broker's answer take less."""


class KeyReused(Exception):
    """An idempotency key was already used for something else; the text says what to do."""


class CommandUndelivered(Exception):
    """The broker did not confirm a command; the text says whether it may have been sent anyway."""

    def __init__(self, command_id: str, error: PublishError) -> None:
        hint = (
            "the device may have received it"
            if error.may_be_sent
            else "nothing was sent, try again"
        )
        super().__init__(f"{error}: {hint}")
        self.command_id = command_id


class Order(NamedTuple):
    """A command for a device, valid for `expires_in` seconds."""

    device_id: str
    command: str
    parameters: dict[str, Any]
    expires_in: int


class Commands:
    """Issues commands on the control topic and reads their state."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        control: TopicPattern,
        notify: Callable[[ChangeSet], None],
        held: HeldRequests,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._control = control
        self._notify = notify
        self._held = held
        self._waiting = Waiting()
        self.on_change = self._waiting.on_change
        """Callback for change notifications."""

    def issue(self, order: Order, key: str | None) -> tuple[str, bool]:
        """Store and publish a command; return its id and whether it is new.

        A `key` that was used before returns the id of that command and publishes nothing. Raises
        KeyReused, CommandUndelivered, Unavailable.
        """
        values = _new(order, key)
        if (earlier := self._create(values, order)) is not None:
            return earlier, False
        command_id = str(values["command_id"])
        self._notify(ChangeSet(commands=[command_id]))
        try:
            self._publisher.publish(self._control.fill(order.device_id), _payload(values))
        except PublishError as error:
            if not error.may_be_sent:
                with self._writing() as connection:
                    queries.commands.mark_unsent(
                        connection, command_id, f"not sent: {error}", clock.now()
                    )
            self._notify(ChangeSet(commands=[command_id]))
            raise CommandUndelivered(command_id, error) from error
        # The command is sent even if this fails; from `pending` it reaches a final state as well.
        with contextlib.suppress(Unavailable), self._writing() as connection:
            queries.commands.mark_sent(connection, command_id, clock.now())
        self._notify(ChangeSet(commands=[command_id]))
        return command_id, True

    def get(self, command_id: str) -> RowMapping | None:
        """Return the current state of a command, or None. Raises Unavailable."""
        row = self._row(command_id)
        if row is not None and row["status"] in queries.commands.OPEN and _left(row) <= 0:
            self._end([command_id])
            row = self._row(command_id)
        return row

    def find(self, device_id: str | None, status: str | None, limit: int) -> Sequence[RowMapping]:
        """Return the newest commands, of one device or in one state. Raises Unavailable."""
        while due := self._due():
            self._end(due)
        with self._database.read() as reader:
            return queries.commands.commands(reader, device_id, status, limit)

    def wait(self, command_id: str, seconds: float) -> RowMapping | None:
        """Return the command once it is final or the time is over.

        Return at once if too many requests are waiting already.
        """
        with self._held.slot() as slot, self._waiting.on(command_id) as changed:
            deadline = time.monotonic() + (seconds if slot else 0)
            while True:
                changed.clear()
                row = self.get(command_id)
                left = deadline - time.monotonic()
                if row is None or row["status"] in queries.commands.FINAL or left <= 0:
                    return row
                changed.wait(max(0.0, min(left, _left(row), LONGEST_SLEEP)))

    def _create(self, values: dict[str, Any], order: Order) -> str | None:
        """Insert the command, or return the id of the earlier one with the same key."""
        try:
            with self._writing() as connection:
                queries.commands.create(connection, values)
        except BadData:
            key = values["idempotency_key"]
            with self._database.read() as reader:
                earlier = queries.commands.command_with_key(reader, key)
            if earlier is None:
                raise
            if not _same(_order(earlier), order):
                text = f"Idempotency-Key: {key} was used for another command; use a new key"
                raise KeyReused(text) from None
            if not _is_interrupted(earlier):
                return str(earlier["command_id"])
            with self._writing() as connection:
                queries.commands.interrupt(connection, earlier["command_id"], clock.now())
            self._notify(ChangeSet(commands=[earlier["command_id"]]))
            return self._create(values, order)
        return None

    def _row(self, command_id: str) -> RowMapping | None:
        with self._database.read() as reader:
            return queries.commands.command(reader, command_id)

    def _due(self) -> Sequence[str]:
        with self._database.read() as reader:
            return queries.commands.due(reader, clock.now(), clock.uptime())

    def _end(self, due: Sequence[str]) -> None:
        with self._writing() as connection:
            queries.commands.expire(connection, due, clock.now(), clock.uptime())
        self._notify(ChangeSet(commands=list(due)))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._database.write() as connection, self._database.transaction(connection):
            yield connection


class Expiry(Job):
    """Expires commands whose time is over."""

    name = "command-expiry"
    interval = 1.0

    def __init__(self, database: Database, notify: Callable[[ChangeSet], None]) -> None:
        self._database = database
        self._notify = notify

    def run(self, connection: Connection) -> None:
        """Expire up to 1,000 commands. Raises Unavailable."""
        now = clock.now()
        with self._database.read() as reader:
            due = queries.commands.due(reader, now, clock.uptime())
        if due:
            with self._database.transaction(connection):
                expired = queries.commands.expire(connection, due, now, clock.uptime())
            self._notify(ChangeSet(commands=expired))


def _left(row: RowMapping) -> float:
    """Return the seconds until a command expires."""
    return CommandState.of(row).left(clock.now(), clock.uptime())


def _is_interrupted(row: RowMapping) -> bool:
    """Return whether the sending process is gone: a running one would have given up waiting."""
    return row["status"] == "pending" and _order(row).expires_in - _left(row) > PENDING_SECONDS


def _new(order: Order, key: str | None) -> dict[str, Any]:
    now, up = clock.now(), clock.uptime()
    return {
        "command_id": str(uuid.uuid4()),
        "device_id": order.device_id,
        "command": order.command,
        "parameters": msgspec.json.encode(order.parameters).decode(),
        "status": "pending",
        "idempotency_key": key,
        "issued_at": now,
        "expires_at": now + timedelta(seconds=order.expires_in),
        "boot": up.boot,
        "deadline": up.seconds + order.expires_in,
        "updated_at": now,
    }


def _order(row: RowMapping) -> Order:
    lifetime = round((row["expires_at"] - row["issued_at"]).total_seconds())
    return Order(row["device_id"], row["command"], msgspec.json.decode(row["parameters"]), lifetime)


def _same(one: Order, other: Order) -> bool:
    # Compared as JSON, because Python treats True and 1 as equal.
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def _payload(values: dict[str, Any]) -> bytes:
    times = {name: clock.rfc3339(values[name]) for name in ("issued_at", "expires_at")}
    names = {name: values[name] for name in ("command_id", "command")}
    return msgspec.json.encode(
        {**names, "parameters": msgspec.Raw(values["parameters"].encode()), **times}
    )
