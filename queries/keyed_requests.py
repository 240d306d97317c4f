"""Statements on `keyed_requests`: when readings with an idempotency key were first received."""

from datetime import datetime

from sqlalchemy import Connection, Insert, RowMapping, delete, select

from models import KeyedRequest
from queries.upserts import Upsert

_REQUESTS = KeyedRequest.metadata.tables["keyed_requests"]


def keeping(upsert: Upsert) -> Insert:
    """Return the upsert of `key`, `content` and `received_at`, which changes no row."""
    return upsert(KeyedRequest, ("key",), lambda stored, _: [("content", stored["content"])])


def first(
    connection: Connection, keeping_first: Insert, key: str, content: str, now: datetime
) -> RowMapping:
    """Return the content and the time of the first request with a key, which may be this one."""
    connection.execute(keeping_first, {"key": key, "content": content, "received_at": now})
    own = select(_REQUESTS.c.content, _REQUESTS.c.received_at).where(_REQUESTS.c.key == key)
    return connection.execute(own).mappings().one()


def forget(connection: Connection, before: datetime) -> None:
    """Delete the requests that were received before a time."""
    connection.execute(delete(_REQUESTS).where(_REQUESTS.c.received_at < before))
