"""Statements on `rest_names`: which fields that no metric takes a device has sent."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Insert, delete, select

from device_models import RestName
from queries.upserts import Upsert

_NAMES = RestName.metadata.tables["rest_names"]


def of_device(reader: Connection, stream: str, device_id: str) -> set[str]:
    """Return the names that a device has sent."""
    own = (_NAMES.c.stream == stream) & (_NAMES.c.device_id == device_id)
    return set(reader.scalars(select(_NAMES.c.name).where(own)))


def keeping(upsert: Upsert) -> Insert:
    """Return the upsert of `stream`, `device_id` and `name`, which changes no row."""
    return upsert(
        RestName,
        ("stream", "device_id", "name"),
        lambda _, incoming: [("name", incoming.name)],
    )


def keep(
    connection: Connection, statement: Insert, stream: str, new: Mapping[str, Collection[str]]
) -> None:
    """Keep new names of devices with the statement of `keeping`."""
    rows = [
        {"stream": stream, "device_id": device_id, "name": name}
        for device_id in sorted(new)
        for name in sorted(new[device_id])
    ]
    if rows:
        connection.execute(statement, rows)


def drop(connection: Connection, stream: str, names: Sequence[str]) -> None:
    """Delete names of all devices of a stream, which a metric takes now."""
    own = (_NAMES.c.stream == stream) & _NAMES.c.name.in_(names)
    connection.execute(delete(_NAMES).where(own))


def forget(connection: Connection, stream: str, device_id: str) -> None:
    """Delete the names of a device of a stream."""
    own = (_NAMES.c.stream == stream) & (_NAMES.c.device_id == device_id)
    connection.execute(delete(_NAMES).where(own))
