"""Statements on `installation`: MQTT client ids and the state of the session at the broker."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from models import Installation


def installation(reader: Connection) -> Installation:
    """Return the one row of `installation`."""
    return Installation(**reader.execute(select(Installation.__table__)).mappings().one())


def client_id(reader: Connection) -> str:
    """Return the MQTT client id of the ingester of this database."""
    return reader.execute(select(Installation.client_id)).scalar_one()


def notices_topic(reader: Connection) -> str:
    """Return the topic on which the processes of this database notify each other of changes."""
    number = reader.execute(select(Installation.notices_id)).scalar_one()
    return f"autoforge/{number}/notices"


def change(connection: Connection, values: Mapping[str, Any]) -> None:
    """Update columns of the row."""
    connection.execute(update(Installation).values(dict(values)))
