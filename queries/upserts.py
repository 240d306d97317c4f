"""What the upserts of several tables share."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Insert

from models import Base
from storage.dialect import Columns, Merge

Upsert = Callable[[type[Base], Sequence[str], Merge], Insert]
"""The signature of `Database.upsert`."""


def counting(upsert: Upsert, model: type[Base], keys: Sequence[str]) -> Insert:
    """Return the upsert that adds the `count` of each row to the row with the same keys."""
    return upsert(model, keys, _added)


def _added(stored: Columns, incoming: Columns) -> Sequence[tuple[str, Any]]:
    return [("count", stored["count"] + incoming["count"])]
