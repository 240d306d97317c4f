"""Know readings over HTTP again: by the `Idempotency-Key` of their request and their index."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

import queries.keyed_requests
from broker.message import Message
from database import Database
from services.commands import KeyReused
from utils import clock

KEPT = timedelta(hours=24)
"""How long a key is known."""


class KeyedRequests:
    """Gives the messages of a repeated request the times and ids that they had before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keeping = queries.keyed_requests.keeping(database.upsert)

    def messages(
        self,
        connection: Connection,
        stream: str,
        key: str,
        topic: str,
        payloads: Sequence[bytes],
    ) -> list[Message]:
        """Return the messages of a request. Raises KeyReused, Unavailable."""
        now = clock.now()
        content, own = _digest([topic.encode(), *payloads]), _digest([f"{stream}/{key}".encode()])
        with self._database.transaction(connection):
            queries.keyed_requests.forget(connection, now - KEPT)
            first = queries.keyed_requests.first(connection, self._keeping, own, content, now)
        if first["content"] != content:
            text = f"Idempotency-Key: {key} was used for other readings; use a new key"
            raise KeyReused(text)
        began = first["received_at"]
        return [
            Message(
                topic, payload, began + index * clock.MICROSECOND, known_serial=_serial(own, index)
            )
            for index, payload in enumerate(payloads)
        ]


def _digest(parts: Sequence[bytes]) -> str:
    """Return a hash of parts, each with its length, so that no two lists have the same."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _serial(request: str, index: int) -> int:
    """Return the id of a delivery; not 0, which stands for an id that is not known."""
    digest = hashlib.blake2b(f"{request}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 2) or 1
