"""Redeliveries of messages without a usable device time, which the table's key cannot recognise.

Their timestamp is the server's, so a second delivery would get another key. What is left is MQTT's own mark:
the same packet id with the DUP flag, within the broker's window of unacknowledged messages. The packet ids and
fingerprints of the newest committed batches are kept in memory and, in the transaction of each batch, in the
table `delivered_batches`, so that the next ingester knows them too. Ids are used again after 65,535 messages;
a window of ten seconds before the last commit is long enough for what was not acknowledged, and short enough
that an old message with the same id and the same payload is not mistaken for a redelivery.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, delete, insert

from ingest.message import fingerprint
from models import DeliveredBatch
from mqtt_client import Message

WINDOW = timedelta(seconds=10)
Delivery = tuple[int, int]
"""Packet id and fingerprint."""


class RecentDeliveries:
    """The newest committed deliveries without a usable device time."""

    def __init__(self) -> None:
        self._batches: deque[tuple[datetime, frozenset[Delivery]]] = deque()

    def load(self, batches: Iterable[DeliveredBatch]) -> None:
        """Take over what an earlier ingester has recorded."""
        decoder = msgspec.json.Decoder(list[Delivery])
        self._batches = deque((batch.created_at, frozenset(decoder.decode(batch.deliveries))) for batch in batches)

    def without_repeated(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages without those that repeat a committed one, or an earlier one of this batch."""
        if not any(message.redelivered for message in messages):
            return messages
        known = {delivery for _, deliveries in self._batches for delivery in deliveries}
        fresh = []
        for message in messages:
            delivery = (message.packet_id, fingerprint(message))
            if not (message.redelivered and message.packet_id and delivery in known):
                fresh.append(message)
            known.add(delivery)
        return fresh

    def record(self, connection: Connection, created_at: datetime, deliveries: frozenset[Delivery]) -> None:
        """Write a batch's deliveries within the batch's transaction, and delete those that are too old."""
        if deliveries:
            text = msgspec.json.encode(list(deliveries)).decode()
            connection.execute(insert(DeliveredBatch).values(created_at=created_at, deliveries=text))
            connection.execute(delete(DeliveredBatch).where(DeliveredBatch.created_at < created_at - WINDOW))

    def committed(self, created_at: datetime, deliveries: frozenset[Delivery]) -> None:
        """Remember a batch's deliveries once its transaction has been committed."""
        if deliveries:
            self._batches.append((created_at, deliveries))
            while self._batches[0][0] < created_at - WINDOW:
                self._batches.popleft()
