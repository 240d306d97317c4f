"""Messages that are rejected, and what is kept of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import queries.rejected
from broker.message import Message
from database import Database
from utils import clock

BROKEN = b"{"


def message(said: str | bytes, topic: str = "sensors/ESP32_001/data") -> Message:
    raw = said if isinstance(said, bytes) else said.encode()
    return Message(topic, raw, clock.now(), packet_id=1)


def of(device: str, count: int, said: str | bytes = BROKEN) -> list[Message]:
    """Messages of one board that cannot be read."""
    return [message(said, f"sensors/{device}/data") for _ in range(count)]


def kept(database: Database) -> Counter[tuple[str | None, str]]:
    """How many messages are in the table, by device and reason."""
    return Counter((row["device_id"], row["reason"]) for row in rows(database))


def rows(database: Database) -> Sequence[Any]:
    with database.read() as reader:
        return queries.rejected.page(reader, {}, 100_000, 0)


def totals(database: Database) -> queries.rejected.RejectedTotals:
    with database.read() as reader:
        return queries.rejected.totals(reader)
