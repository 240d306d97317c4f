"""Statements on checkpoints: the last reading of a stream whose analysis is published."""

from sqlalchemy import Connection, delete, insert, select

from models import Analysed


def checkpoint(reader: Connection, stream: str) -> int | None:
    """Return the highest id of a reading whose analysis is published, or None."""
    return reader.execute(select(Analysed.reading_id).where(Analysed.stream == stream)).scalar()


def move(connection: Connection, stream: str, reading_id: int) -> None:
    """Replace the checkpoint of a stream."""
    connection.execute(delete(Analysed).where(Analysed.stream == stream))
    connection.execute(insert(Analysed).values(stream=stream, reading_id=reading_id))
