"""Statements on presence: which devices are online, as they and their brokers say."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from models import Presence
from queries.reader import Reader, in_chunks

_PRESENCE = Presence.metadata.tables["presence"]


def presence(reader: Reader, device_ids: Iterable[str]) -> Sequence[RowMapping]:
    """`device_id`, `online` and `changed_at` of those of these devices that ever said so."""
    return in_chunks(reader, select(_PRESENCE), _PRESENCE.c.device_id, device_ids)


def presence_since(reader: Reader, since: datetime, device_id: str | None) -> Sequence[RowMapping]:
    """The devices that went online or offline at `since` or later, oldest change first.

    One device, or all.
    """
    query = select(_PRESENCE).where(_PRESENCE.c.changed_at >= since)
    if device_id is not None:
        query = query.where(_PRESENCE.c.device_id == device_id)
    return reader.execute(query.order_by(_PRESENCE.c.changed_at)).mappings().all()


def add(connection: Connection, online: Mapping[str, bool | None], now: datetime) -> None:
    """Insert devices of which nothing was known."""
    if online:
        connection.execute(insert(_PRESENCE), _rows("device_id", online, now))


def change(connection: Connection, online: Mapping[str, bool | None], now: datetime) -> None:
    """Update devices of which something is known."""
    if online:
        statement = update(_PRESENCE).where(_PRESENCE.c.device_id == bindparam("device"))
        connection.execute(statement, _rows("device", online, now))


def _rows(key: str, online: Mapping[str, bool | None], now: datetime) -> list[dict[str, Any]]:
    return [{key: device, "online": online[device], "changed_at": now} for device in sorted(online)]


def forget(connection: Connection, device_id: str) -> None:
    """Delete what is known of a device."""
    connection.execute(delete(_PRESENCE).where(_PRESENCE.c.device_id == device_id))
