"""Redeliveries of messages without a usable device time, which the table's key cannot recognise.

Their timestamp is the server's, so a second delivery would get another key. What is left is MQTT's own mark:
the same packet id, with the DUP flag. The packet ids and hashes of the newest committed messages are kept
in memory and, in the transaction of each batch, in the table `delivered_batches`, so that the next ingester
knows them too. Newest means: among the last 50,000 that were delivered for the first time. A broker can have no
more than that under way without being acknowledged, and it gives the same packet id again only after 65,535, so
that an old message with the same id and the same payload is not mistaken for a redelivery.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, delete, insert

from broker.message import Message
from ingest.message import content_hash
from models import DeliveredBatch

WINDOW = 50_000
Delivery = tuple[int, int]
"""Packet id and `content_hash`."""


class RecentDeliveries:
    """The newest committed deliveries without a usable device time."""

    def __init__(self) -> None:
        self.first_deliveries = 0
        """How many messages were ever delivered for the first time."""
        self._batches: deque[tuple[int, list[Delivery]]] = deque()

    def load(self, first_deliveries: int, batches: Iterable[DeliveredBatch]) -> None:
        """Take over what an earlier ingester has recorded."""
        decoder = msgspec.json.Decoder(list[Delivery])
        self.first_deliveries = first_deliveries
        self._batches = deque((batch.first_deliveries, decoder.decode(batch.deliveries)) for batch in batches)

    def first(self, messages: Sequence[Message]) -> int:
        """How many of these are counted as first deliveries: those without the DUP flag."""
        return [message.redelivered for message in messages].count(False)

    def clear(self) -> None:
        """Forget all of them."""
        self._batches.clear()

    def without_repeated(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages without copies and those that repeat a committed one, or an earlier one of this batch."""
        if not any([message.redelivered or message.copy for message in messages]):  # noqa: C419 - takes half the time
            return messages
        # By packet id, the newest wins: where a broker has used the id again, the older message is settled.
        known = {packet_id: content for _, deliveries in self._batches for packet_id, content in deliveries}
        fresh = []
        for message in messages:
            content = content_hash(message)
            again = message.redelivered and message.packet_id and known.get(message.packet_id) == content
            if not (again or message.copy):
                fresh.append(message)
            known[message.packet_id] = content
        return fresh

    def record(self, connection: Connection, first_deliveries: int, deliveries: list[Delivery]) -> None:
        """Write a batch's deliveries within its transaction; delete those that are too old.

        `first_deliveries` says how many of the batch came without the DUP flag.
        """
        if deliveries:
            first = self.first_deliveries + first_deliveries
            text = msgspec.json.encode(deliveries).decode()
            connection.execute(insert(DeliveredBatch).values(first_deliveries=first, deliveries=text))
            connection.execute(delete(DeliveredBatch).where(DeliveredBatch.first_deliveries < first - WINDOW))

    def committed(self, first_deliveries: int, deliveries: list[Delivery]) -> None:
        """Remember a batch once its transaction has been committed."""
        self.first_deliveries += first_deliveries
        if deliveries:
            self._batches.append((self.first_deliveries, deliveries))
        while self._batches and self._batches[0][0] < self.first_deliveries - WINDOW:
            self._batches.popleft()


class Unrecorded(RecentDeliveries):
    """Those of a session that is about to end; packet ids of two sessions must not be mixed in the table."""

    def first(self, messages: Sequence[Message]) -> int:  # noqa: ARG002 - they are not those of the session in use
        """None of them is counted."""
        return 0

    def record(self, connection: Connection, first_deliveries: int, deliveries: list[Delivery]) -> None:
        """Keep them in memory only."""

    def committed(self, _: int, deliveries: list[Delivery]) -> None:
        """Remember a batch; what is not counted does not grow old."""
        super().committed(len(deliveries), deliveries)
