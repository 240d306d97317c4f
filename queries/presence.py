"""Statements on `presence`: which devices are online, as reported by the devices and brokers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from models import Presence
from queries.reader import in_chunks

_PRESENCE = Presence.metadata.tables["presence"]


def presence(reader: Connection, device_ids: Iterable[str]) -> Sequence[RowMapping]:
    """Return `device_id`, `online` and `changed_at` of the given devices, if ever reported."""
    return in_chunks(reader, select(_PRESENCE), _PRESENCE.c.device_id, device_ids)


def presence_since(
    reader: Connection, since: datetime, device_id: str | None
) -> Sequence[RowMapping]:
    """Return the devices whose presence changed at `since` or later, oldest change first.

    With `device_id`, only that device.
    """
    query = select(_PRESENCE).where(_PRESENCE.c.changed_at >= since)
    if device_id is not None:
        query = query.where(_PRESENCE.c.device_id == device_id)
    return reader.execute(query.order_by(_PRESENCE.c.changed_at)).mappings().all()


def add(connection: Connection, online: Mapping[str, bool | None], now: datetime) -> None:
    """Insert the presence of devices that have no row yet."""
    if online:
        connection.execute(insert(_PRESENCE), _rows("device_id", online, now))


def change(connection: Connection, online: Mapping[str, bool | None], now: datetime) -> None:
    """Update the presence of devices that have a row."""
    if online:
        statement = update(_PRESENCE).where(_PRESENCE.c.device_id == bindparam("device"))
        connection.execute(statement, _rows("device", online, now))


def _rows(key: str, online: Mapping[str, bool | None], now: datetime) -> list[dict[str, Any]]:
    return [{key: device, "online": online[device], "changed_at": now} for device in sorted(online)]


def forget(connection: Connection, device_id: str) -> None:
    """Delete the presence of a device."""
    connection.execute(delete(_PRESENCE).where(_PRESENCE.c.device_id == device_id))
