"""A database of each kind with two streams, for the tests of what is new in it; emptied, not made, for each test."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.engine import make_url

from broker.message import Message
from broker.notifier import ChangeSet
from config import PROJECT
from database import Database
from device_models import Presence
from ingest.presence import PresenceNotice, PresenceNotices
from models import Command
from services.changes import ChangeReader
from services.feed import GAP, Event, Interest
from storage.dialect import Row
from streams import declaration
from tests.parsing import RECEIVED as NOON
from tests.parsing import SHAPES
from tests.support import DEVICE_TOPICS
from utils import clock

ALL = Interest("sensors")
PRESENCE = '[presence]\ntopic = "panel/{device_id}/here"\n'


class Site:
    """A database with the streams `sensors` and `panel`, and who looks at it.

    `panel` has a topic for each metric and one for presence.
    """

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "sensors.toml").write_text((PROJECT / "streams" / "sensors.toml").read_text())
        (folder / "panel.toml").write_text(f"{SHAPES['panel']}{PRESENCE}")
        self.streams = declaration.load(folder, {}, DEVICE_TOPICS)
        self.database = Database(make_url(url), self.streams)
        self.database.prepare()
        self._fingerprint = 0
        self.changes = self.another()

    def empty(self) -> None:
        """Take everything away, so that ids begin at 1 again, and forget it."""
        with self.database.write() as connection, self.database.transaction(connection):
            for table in self.database.tables.values():
                table.drop(connection)
                table.create(connection)
            connection.execute(delete(Command))
            connection.execute(delete(Presence))
        self.changes = self.another()

    def another(self) -> ChangeReader:
        """Another process that looks at the same database."""
        return ChangeReader(self.database, self.streams)

    def store(self, *readings: tuple[str, float], at: datetime | None = None) -> ChangeSet:
        """Commit a batch of (device, second), with the second as temperature; return what the writer reports."""
        return self._store("sensors", [self.row(*item) for item in readings], at)

    def store_panel(
        self, *readings: tuple[str, float, float | None, str | None], at: datetime | None = None
    ) -> ChangeSet:
        """The same of (device, second, ampere, state)."""
        return self._store("panel", [self.row(*item) for item in readings], at)

    def row(self, device_id: str, second: float, *values: float | str | None) -> Row:
        self._fingerprint += 1
        moment = NOON + timedelta(seconds=second)
        return (device_id, moment, None, *(values or (second, 1.0, 1.0, 1.0)), self._fingerprint)

    def write(self, connection: Connection, stream: str, rows: list[Row], at: datetime) -> None:
        written = self.database.write_batch(connection, self.database.tables[stream], rows, at)
        assert written.stored == len(rows)

    def _store(self, stream: str, rows: list[Row], at: datetime | None) -> ChangeSet:
        at = at or clock.now()
        with self.database.write() as connection, self.database.transaction(connection):
            self.write(connection, stream, rows, at)
        return ChangeSet(readings={stream: [at]})

    def command(
        self, command_id: str, status: str, device_id: str = "a", at: datetime | None = None
    ) -> ChangeSet:
        """Issue a command, or change it."""
        at = at or clock.now()
        row = {
            "command_id": command_id,
            "device_id": device_id,
            "command": "restart",
            "parameters": "{}",
        }
        times = {"issued_at": at, "expires_at": at + timedelta(minutes=1), "updated_at": at}
        with self.database.write() as connection, self.database.transaction(connection):
            key = Command.command_id == command_id
            if not connection.execute(
                update(Command).where(key).values(status=status, updated_at=at)
            ).rowcount:
                connection.execute(insert(Command).values(**row, **times, status=status))
        return ChangeSet(commands=[command_id])

    def presence(
        self, device_id: str, online: bool | None, at: datetime | None = None, stream: str = ""
    ) -> ChangeSet:
        notice = PresenceNotice(device_id, Message("", b"", at or clock.now()), online, stream)
        with self.database.write() as connection, self.database.transaction(connection):
            kind = PresenceNotices(DEVICE_TOPICS.status)
            return kind.apply(connection, [notice], at or clock.now()).changes

    def missed(self, since: int | datetime, interest: Interest = ALL) -> list[Any]:
        return said(self.another().missed(interest, since))


def said(events: Iterable[Event]) -> list[Any]:
    """(device, temperature), (device, metric, value), (command, status), or (device, whether it is online)."""
    return [_said(event) for event in events if event.name != GAP]


def left_out(events: Iterable[Event]) -> list[tuple[str | None, int, int]]:
    """(device, first id, last id) of the readings that were not said."""
    gaps = [event.payload for event in events if event.name == GAP]
    return [(gap["device_id"], gap["from_id"], gap["to_id"]) for gap in gaps]


def _said(event: Event) -> tuple[Any, ...]:
    data = event.payload
    if event.name == "command":
        return data["command_id"], data["status"]
    if event.name == "presence":
        return data["device_id"], data["online"]
    if event.stream == "sensors":
        return data["device_id"], data["temperature"]
    return data["device_id"], *(
        (key, data[key]) for key in ("ampere", "state") if data[key] is not None
    )
