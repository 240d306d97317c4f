"""SELECTs of devices, their commands and their presence."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select

from models import VERIFY_DEVICE, Command, Device, Presence, StreamState
from queries.reader import Reader
from utils import clock
from utils.clock import Uptime

CHUNK = 500
_COMMANDS = Command.metadata.tables["commands"]
_DEVICES = Device.metadata.tables["devices"]
_STREAMS = StreamState.metadata.tables["stream_states"]
_PRESENCE = Presence.metadata.tables["presence"]


def command(reader: Reader, command_id: str) -> RowMapping | None:
    """The command with this id, or None."""
    return reader.execute(select(_COMMANDS).where(_COMMANDS.c.command_id == command_id)).mappings().first()


def command_with_key(reader: Reader, key: str) -> RowMapping | None:
    """The command that was issued with this idempotency key, or None."""
    return reader.execute(select(_COMMANDS).where(_COMMANDS.c.idempotency_key == key)).mappings().first()


def commands(reader: Reader, device_id: str | None, status: str | None, limit: int) -> Sequence[RowMapping]:
    """Commands, newest first."""
    query = select(_COMMANDS).order_by(_COMMANDS.c.id.desc()).limit(limit)
    if device_id is not None:
        query = query.where(_COMMANDS.c.device_id == device_id)
    if status is not None:
        query = query.where(_COMMANDS.c.status == status)
    return reader.execute(query).mappings().all()


def commands_by_id(reader: Reader, command_ids: Iterable[str]) -> Sequence[RowMapping]:
    """These commands."""
    return _in_chunks(reader, select(_COMMANDS), _COMMANDS.c.command_id, command_ids)


def commands_since(reader: Reader, moment: datetime, device_id: str | None) -> Sequence[RowMapping]:
    """The newest 1,000 commands that changed at `moment` or later, of one device or of all, oldest change first."""
    query = select(_COMMANDS).where(_COMMANDS.c.updated_at >= moment)
    if device_id is not None:
        query = query.where(_COMMANDS.c.device_id == device_id)
    query = query.order_by(_COMMANDS.c.updated_at.desc(), _COMMANDS.c.id.desc()).limit(1000)
    return reader.execute(query).mappings().all()[::-1]


def commands_to_change(connection: Connection, command_ids: Iterable[str]) -> Sequence[RowMapping]:
    """These commands, locked until the transaction ends."""
    return _in_chunks(connection, select(_COMMANDS).with_for_update(), _COMMANDS.c.command_id, command_ids)


def due_commands(reader: Reader, statuses: Sequence[str], moment: datetime, up: Uptime) -> Sequence[str]:
    """The ids of up to 1,000 commands in these states whose time is over, in the order of issue."""
    query = select(Command.command_id).where(Command.status.in_(statuses), is_over(moment, up))
    return reader.scalars(query.order_by(Command.id).limit(1000)).all()


def is_over(moment: datetime, up: Uptime) -> ColumnElement[bool]:
    """Whether a command's time is over: of this run of this machine by how long it runs, else by the clock."""
    here = func.coalesce(Command.boot, "") == (up.boot or "-")
    return or_(and_(here, Command.deadline <= up.seconds), and_(~here, Command.expires_at <= moment))


def is_known(reader: Reader, streams: Iterable[str], device_id: str) -> bool:
    """Whether there is a reading of a device in one of these streams."""
    query = select(_DEVICES.c.last_id).where(_DEVICES.c.stream.in_(sorted(streams)))
    return reader.execute(query.where(_DEVICES.c.device_id == device_id).limit(1)).first() is not None


def ids(reader: Reader, streams: Iterable[str], limit: int) -> Sequence[str]:
    """The first ids of the devices of these streams in their order, at most so many."""
    known = _DEVICES.c.stream.in_(sorted(streams)) & (_DEVICES.c.device_id != VERIFY_DEVICE)
    query = select(_DEVICES.c.device_id).distinct().where(known)
    return reader.scalars(query.order_by(_DEVICES.c.device_id).limit(limit)).all()


def heard_last(reader: Reader, stream: str) -> str | None:
    """The device of a stream that was heard last, or None."""
    own = (_DEVICES.c.stream == stream) & (_DEVICES.c.device_id != VERIFY_DEVICE)
    # What was heard at a time that is still to come was heard before the clock was set back.
    present = own & (_DEVICES.c.last_heard <= clock.now() + clock.STEP)
    newest = select(_DEVICES.c.last_heard).where(present).order_by(_DEVICES.c.last_heard.desc()).limit(1)
    query = select(_DEVICES.c.device_id).where(own).limit(1)
    by_id = _DEVICES.c.last_id.desc()
    last = reader.scalars(query.where(_DEVICES.c.last_heard == newest.scalar_subquery()).order_by(by_id)).first()
    # Of all others, some from before last_heard was kept, the order of their readings tells it.
    return last or reader.scalars(query.order_by(_DEVICES.c.last_heard.is_(None), by_id)).first()


def presence(reader: Reader, device_ids: Iterable[str]) -> Sequence[RowMapping]:
    """`device_id`, `online` and `changed_at` of those of these devices that ever said so."""
    return _in_chunks(reader, select(_PRESENCE), _PRESENCE.c.device_id, device_ids)


def presence_since(reader: Reader, moment: datetime, device_id: str | None) -> Sequence[RowMapping]:
    """The devices, one or all, that went online or offline at `moment` or later, oldest change first."""
    query = select(_PRESENCE).where(_PRESENCE.c.changed_at >= moment)
    if device_id is not None:
        query = query.where(_PRESENCE.c.device_id == device_id)
    return reader.execute(query.order_by(_PRESENCE.c.changed_at)).mappings().all()


def _in_chunks(
    reader: Reader, query: Select[Any], column: ColumnElement[Any], values: Iterable[str]
) -> list[RowMapping]:
    # SQLite takes 32,766 parameters, MySQL plans badly above some hundreds.
    ordered = sorted(values)
    chunks = (ordered[place : place + CHUNK] for place in range(0, len(ordered), CHUNK))
    return [row for chunk in chunks for row in reader.execute(query.where(column.in_(chunk))).mappings()]


def lock_streams(connection: Connection, streams: Iterable[str]) -> None:
    """Let no other transaction write readings of these streams until this one ends, so that ids keep their order.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name != "sqlite":
        query = select(_STREAMS.c.stream).where(_STREAMS.c.stream.in_(sorted(streams)))
        connection.execute(query.order_by(_STREAMS.c.stream).with_for_update()).all()
