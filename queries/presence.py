"""Statements on `presence`: which devices are online, as reported by the devices and brokers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    ScalarSelect,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from device_models import Presence
from queries.reader import in_chunks

_PRESENCE = Presence.metadata.tables["presence"]
Key = tuple[str, str]
"""A device id, and the stream whose device it is; an empty text for all streams."""


class Said(Protocol):
    """What a device said: whether it is online, and the place of the message among its others."""

    @property
    def online(self) -> bool | None: ...
    @property
    def place(self) -> int: ...


def presence(reader: Connection, device_ids: Iterable[str]) -> Sequence[RowMapping]:
    """Return what was ever reported of the given devices.

    Each row has `device_id`, `stream`, `online`, `changed_at` and `place`.
    """
    return in_chunks(reader, select(_PRESENCE), _PRESENCE.c.device_id, device_ids)


def presence_since(
    reader: Connection, since: datetime, device_id: str | None
) -> Sequence[RowMapping]:
    """Return the rows of devices whose presence changed at `since` or later, oldest change first.

    With `device_id`, only that device.
    """
    changed = select(_PRESENCE.c.device_id).where(_PRESENCE.c.changed_at >= since)
    query = select(_PRESENCE).where(_PRESENCE.c.device_id.in_(changed))
    if device_id is not None:
        query = query.where(_PRESENCE.c.device_id == device_id)
    return reader.execute(query.order_by(_PRESENCE.c.changed_at)).mappings().all()


def online_in(streams: Sequence[str], device_id: ColumnElement[str]) -> ScalarSelect[bool | None]:
    """Return the subquery of what a device said last in one of the streams, an empty text for all.

    What was cleared does not count; see `services.presence.counting`.
    """
    said = _PRESENCE.c.stream.in_(streams) & _PRESENCE.c.online.is_not(None)
    query = select(_PRESENCE.c.online).where(_PRESENCE.c.device_id == device_id, said)
    return query.order_by(_PRESENCE.c.place.desc()).limit(1).scalar_subquery()


def add(connection: Connection, said: Mapping[Key, Said], now: datetime) -> None:
    """Insert what was reported for the first time."""
    if said:
        connection.execute(insert(_PRESENCE), _rows(("device_id", "stream"), said, now))


def change(connection: Connection, said: Mapping[Key, Said], now: datetime) -> None:
    """Update what was reported before."""
    if said:
        own = _PRESENCE.c.device_id == bindparam("device")
        own &= _PRESENCE.c.stream == bindparam("of_stream")
        connection.execute(update(_PRESENCE).where(own), _rows(("device", "of_stream"), said, now))


def _rows(names: tuple[str, str], said: Mapping[Key, Said], now: datetime) -> list[dict[str, Any]]:
    return [
        dict(zip(names, key, strict=True))
        | {"online": said[key].online, "place": said[key].place, "changed_at": now}
        for key in sorted(said)
    ]


def forget(connection: Connection, device_id: str) -> None:
    """Delete the presence of a device."""
    connection.execute(delete(_PRESENCE).where(_PRESENCE.c.device_id == device_id))
