"""Statements on `devices`: the devices that have sent readings of a stream."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, case, delete, func, select

from device_models import Device
from models import VERIFY_DEVICE, StreamState
from queries.upserts import Upsert
from storage.dialect import Columns
from utils import clock

_DEVICES = Device.metadata.tables["devices"]
_STREAMS = StreamState.metadata.tables["stream_states"]


def is_known(reader: Connection, streams: Iterable[str], device_id: str) -> bool:
    """Return whether one of the streams has a reading of the device."""
    query = select(_DEVICES.c.last_id).where(_DEVICES.c.stream.in_(sorted(streams)))
    query = query.where(_DEVICES.c.device_id == device_id)
    return reader.execute(query.limit(1)).first() is not None


def ids(reader: Connection, streams: Iterable[str], limit: int) -> Sequence[str]:
    """Return the device ids of the streams in alphabetical order, at most `limit`."""
    known = _DEVICES.c.stream.in_(sorted(streams)) & (_DEVICES.c.device_id != VERIFY_DEVICE)
    query = select(_DEVICES.c.device_id).distinct().where(known)
    return reader.scalars(query.order_by(_DEVICES.c.device_id).limit(limit)).all()


def heard_last(reader: Connection, stream: str) -> str | None:
    """Return the device of a stream that was heard last, or None."""
    own = (_DEVICES.c.stream == stream) & (_DEVICES.c.device_id != VERIFY_DEVICE)
    # A time in the future was stored before the clock was set back.
    present = own & (_DEVICES.c.last_heard <= clock.now() + clock.STEP)
    newest = select(_DEVICES.c.last_heard).where(present)
    newest = newest.order_by(_DEVICES.c.last_heard.desc()).limit(1)
    query = select(_DEVICES.c.device_id).where(own).limit(1)
    by_id = _DEVICES.c.last_id.desc()
    heard_at_newest = query.where(_DEVICES.c.last_heard == newest.scalar_subquery())
    last = reader.scalars(heard_at_newest.order_by(by_id)).first()
    # Rows from before last_heard existed have only the order of their readings.
    return last or reader.scalars(query.order_by(_DEVICES.c.last_heard.is_(None), by_id)).first()


def lock_streams(connection: Connection, streams: Iterable[str]) -> None:
    """Lock the streams for this transaction, so that ids are committed in their order.

    SQLite has only one writer at a time and needs no lock.
    """
    if connection.dialect.name != "sqlite":
        query = select(_STREAMS.c.stream).where(_STREAMS.c.stream.in_(sorted(streams)))
        connection.execute(query.order_by(_STREAMS.c.stream).with_for_update()).all()


def keeping(upsert: Upsert, *, late: bool) -> Insert:
    """Return the upsert of `stream`, `device_id`, `last_id` and `last_heard`.

    With `late`, the readings were received some time ago, so a later `last_heard` is kept.
    """
    return upsert(Device, ("stream", "device_id"), _heard_before if late else _heard)


def forget(connection: Connection, stream: str, device_id: str) -> None:
    """Delete a device of a stream."""
    own = (_DEVICES.c.stream == stream) & (_DEVICES.c.device_id == device_id)
    connection.execute(delete(_DEVICES).where(own))


def _heard(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    # An earlier time replaces a later one too: the clock was set back.
    heard = func.coalesce(incoming.last_heard, stored.last_heard)
    return [("last_id", _greater("last_id", stored, incoming)), ("last_heard", heard)]


def _heard_before(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    heard = func.coalesce(_greater("last_heard", stored, incoming), incoming.last_heard)
    return [("last_id", _greater("last_id", stored, incoming)), ("last_heard", heard)]


def _greater(name: str, stored: Columns, incoming: Columns) -> ColumnElement[Any]:
    return case((incoming[name] > stored[name], incoming[name]), else_=stored[name])
