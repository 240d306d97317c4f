"""Rejected messages: kept unchanged, within a limit that no device can exhaust for the others.

Each device has a share for each reason; if the device is unknown, the topic has the share. When
the limit is reached, the largest share loses its oldest messages. Anyone can invent names of
devices and topics, so the number of shares is limited too: further messages count in one common
share for each reason.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

import queries.rejected
from config import Settings
from database import Database
from ingest.json_payloads import MAX_PAYLOAD
from ingest.message import Rejection
from ingest.unpacking import MAX_UNPACKED
from models import MAX_MESSAGE, MAX_TOPIC
from queries.rejected import UNSHARED
from utils.identity import MAX_TEXT

KEPT = 4_096
"""Bytes kept of a payload that is too large for a reading."""
TOO_LARGE = ("too_large", "too_many_readings")
"""The reasons for which a message is rejected because of its size."""
MAX_MESSAGES = 100_000
MAX_SHARES = 1_000
ROW_BYTES = 200
"""Estimated size of a row without its topic, payload and message text."""
STEP = 1_000
"""Maximum of messages evicted at once, so a lowered limit is reached gradually."""


class RejectedLimits(NamedTuple):
    """The limits of what is kept."""

    messages: int = MAX_MESSAGES
    bytes: int = 256_000_000

    @classmethod
    def of(cls, settings: Settings) -> "RejectedLimits":
        """Return the limits of the settings."""
        return cls(MAX_MESSAGES, settings.rejected_max_mb * 1_000_000)


@dataclass
class Share:
    """The messages kept for one device, or one topic, and one reason."""

    number: int
    messages: int = 0
    bytes: int = 0
    evicted: int = 0
    new: Mapping[str, str | None] | None = None
    """The columns that name the share, if it is not in the database yet."""
    changed: bool = False

    def add(self, messages: int, weight: int) -> None:
        """Add messages, or remove them with negative numbers."""
        self.messages = max(0, self.messages + messages)
        self.bytes = max(0, self.bytes + weight)
        self.evicted += max(0, -messages)
        self.changed = True


class Ledger:
    """All shares during one transaction; pure."""

    def __init__(self, shares: Iterable[Share]) -> None:
        self._shares = {share.number: share for share in shares}
        self._shares.setdefault(UNSHARED, Share(UNSHARED, new=_named(None, None)))

    def share_for(self, row: Mapping[str, Any]) -> Share:
        """Return the share of a message's device or topic, or the common share of its reason."""
        names = ("stream", "device_id", "topic", "reason")
        stream, device_id, topic, reason = (row[name] for name in names)
        known = ("topic", topic) if device_id is None else ("device", stream or "", device_id)
        own = _number(*known, reason)
        if own in self._shares:
            return self._shares[own]
        if len(self._shares) < MAX_SHARES:
            on_topic = topic[:MAX_TEXT] if device_id is None else None
            share = Share(own, new=_named(reason, stream, device_id, on_topic))
            return self._shares.setdefault(own, share)
        common = _number("others", reason)
        return self._shares.setdefault(common, Share(common, new=_named(reason, None)))

    def next_eviction(self, limits: RejectedLimits) -> tuple[Share, int] | None:
        """Return the largest share and how many messages it must lose, or None within limits."""
        shares = self._shares.values()
        messages_over = sum(share.messages for share in shares) - limits.messages
        if messages_over > 0:
            first, lead = _largest(shares, "messages")
            return first, _portion(first.messages, lead, messages_over)
        bytes_over = sum(share.bytes for share in shares) - limits.bytes
        if bytes_over > 0:
            first, lead = _largest(shares, "bytes")
            weight = first.bytes // max(1, first.messages) + 1
            return first, _portion(first.messages, lead // weight, bytes_over // weight + 1)
        return None

    def empty(self) -> list[Share]:
        """Remove the empty shares, and add their evictions to the share UNSHARED."""
        empty = [share for share in self._shares.values() if share.changed and not share.messages]
        gone = [share for share in empty if share.number != UNSHARED]
        for share in gone:
            del self._shares[share.number]
            self._shares[UNSHARED].evicted += share.evicted
            self._shares[UNSHARED].changed = True
        return gone

    def changed(self) -> list[Share]:
        """Return the shares that must be written."""
        return [share for share in self._shares.values() if share.changed]


class RejectedMessages:
    """Writes rejected messages, their counts and shares, and evicts old messages."""

    def __init__(self, database: Database, limits: RejectedLimits) -> None:
        self._limits = limits
        self._counting = queries.rejected.counting_rejected(database.upsert)

    def write(self, connection: Connection, rejections: Sequence[Rejection], now: datetime) -> None:
        """Write rejected messages within a transaction. Raises DBAPIError."""
        # Locking the shares first excludes all other writers.
        ledger = Ledger(Share(*row) for row in queries.rejected.lock_shares(connection))
        rows = [_row(rejection, now) for rejection in rejections]
        for row in rows:
            share = ledger.share_for(row)
            share.add(1, _weight(row))
            row["share"] = share.number
        queries.rejected.add_messages(connection, rows)
        counts = Counter(rejection.reason for rejection in rejections)
        added = [{"reason": reason, "count": count} for reason, count in sorted(counts.items())]
        connection.execute(self._counting, added)
        self._make_room(connection, ledger, STEP + 2 * len(rows))
        _save(connection, ledger)

    def _make_room(self, connection: Connection, ledger: Ledger, at_most: int) -> None:
        while at_most > 0 and (eviction := ledger.next_eviction(self._limits)) is not None:
            share, wanted = eviction[0], min(eviction[1], at_most)
            oldest = queries.rejected.oldest(connection, share.number, wanted)
            share.add(-len(oldest), -sum(map(_weight, oldest)))
            if oldest:
                queries.rejected.evict(connection, share.number, oldest[-1]["id"])
            if len(oldest) < wanted:
                share.messages = share.bytes = 0  # rows were deleted by other means
            at_most -= max(1, len(oldest))


def _save(connection: Connection, ledger: Ledger) -> None:
    gone = [share.number for share in ledger.empty() if share.new is None]
    if gone:
        queries.rejected.drop_shares(connection, gone)
    new: list[dict[str, Any]] = []
    old: list[dict[str, int]] = []
    for share in ledger.changed():
        if share.new is None:
            old.append(_figures(share) | {"number": share.number})
        else:
            new.append({**_figures(share), "share": share.number, **share.new})
    if new:
        queries.rejected.add_shares(connection, new)
    if old:
        queries.rejected.change_shares(connection, old)


def _figures(share: Share) -> dict[str, int]:
    return {"messages": share.messages, "bytes": share.bytes, "evicted": share.evicted}


def _row(rejection: Rejection, now: datetime) -> dict[str, Any]:
    size = len(rejection.message.payload)
    # One with several readings may be larger than one of a single reading.
    is_kept = size <= MAX_PAYLOAD or (
        rejection.readings and rejection.reason not in TOO_LARGE and size <= MAX_UNPACKED
    )
    payload = rejection.message.payload if is_kept else rejection.message.payload[:KEPT]
    return {
        "stream": rejection.stream,
        "device_id": rejection.device_id,
        "topic": rejection.message.topic.replace("\0", "\\0")[:MAX_TOPIC],
        "payload": payload,
        "payload_size": size,
        "reason": rejection.reason,
        "message": rejection.text[:MAX_MESSAGE],
        "created_at": now,
    }


def _weight(row: Mapping[str, Any] | RowMapping) -> int:
    """Return the size of a message in bytes, which is the same before and after it is written."""
    size: int = row["payload_size"]
    if size > MAX_PAYLOAD:
        size = row["kept"] if "kept" in row else len(row["payload"])
    return size + len(row["topic"].encode()) + len(row["message"].encode()) + ROW_BYTES


def _largest(shares: Iterable[Share], measure: str) -> tuple[Share, int]:
    """Return the largest share by a measure, and its lead over the second largest."""
    first, *others = heapq.nlargest(2, shares, key=lambda share: getattr(share, measure))
    second = getattr(others[0], measure) if others else 0
    return first, getattr(first, measure) - second


def _portion(messages: int, lead: int, needed: int) -> int:
    """Return how many messages to evict from the largest share: at most its lead, roughly."""
    # Shares of equal size lose up to an eighth at once, instead of one message for each query.
    return min(STEP, needed, max(1, lead, messages // 8))


def _named(
    reason: str | None, stream: str | None, device_id: str | None = None, topic: str | None = None
) -> Any:
    return {"stream": stream, "device_id": device_id, "topic": topic, "reason": reason}


def _number(*parts: str) -> int:
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
