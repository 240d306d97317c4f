"""Statements on this installation: its client ids, and its session at the broker."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.orm import Session

from models import Installation
from queries.reader import Reader


def installation(session: Session) -> Installation:
    """What belongs to this database: client ids, and what is known of the session at the broker."""
    return session.scalars(select(Installation)).one()


def client_id(reader: Reader) -> str:
    """The MQTT client id of the ingester of this database."""
    return reader.execute(select(Installation.client_id)).scalar_one()


def notices_topic(reader: Reader) -> str:
    """The topic on which the processes of this database notify each other of changes."""
    number = reader.execute(select(Installation.notices_id)).scalar_one()
    return f"autoforge/{number}/notices"


def change(connection: Connection, values: Mapping[str, Any]) -> None:
    """Update columns."""
    connection.execute(update(Installation).values(dict(values)))
