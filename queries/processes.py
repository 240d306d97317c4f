"""SELECTs of the processes that run."""

from datetime import datetime

from sqlalchemy import select

from models import Process
from queries.reader import Reader


def declarations(reader: Reader, heard_since: datetime) -> dict[str, str]:
    """The digest of its declarations for every process that was heard of since, by its name."""
    query = select(Process.name, Process.declarations).where(Process.heartbeat_at >= heard_since).order_by(Process.name)
    return {row.name: row.declarations for row in reader.execute(query)}
