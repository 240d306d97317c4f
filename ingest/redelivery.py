"""Redeliveries of messages without a usable device time, which the table's key cannot recognise.

Their timestamp is the server's, so a second delivery would get another key. What is left is MQTT's own mark:
the same packet id, with the DUP flag. The packet ids and hashes of the newest committed messages are kept
in memory and, in the transaction of each batch, in the table `delivered_batches`, so that the next ingester
knows them too. Newest means: among the last 50,000 that were delivered for the first time. A broker can have no
more than that under way without being acknowledged, and it gives the same packet id again only after 65,535, so
that an old message with the same id and the same payload is not mistaken for a redelivery.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

import queries.deliveries
from broker.message import Message

WINDOW = 50_000
Delivery = tuple[int, int]
"""Packet id and `Message.fingerprint`."""


@dataclass
class DeliveryRecord:
    """What is to be remembered of the batch that is being committed."""

    first: int
    """How many of its messages came without the DUP flag."""
    deliveries: list[Delivery] = field(default_factory=list)


class RecentDeliveries:
    """The newest committed deliveries without a usable device time."""

    def __init__(self) -> None:
        self.first_deliveries = 0
        """How many messages were ever delivered for the first time."""
        self._batches: deque[tuple[int, list[Delivery]]] = deque()

    def resume(self, connection: Connection, first_deliveries: int) -> None:
        """Take over what an earlier ingester has recorded."""
        decoder = msgspec.json.Decoder(list[Delivery])
        rows = queries.deliveries.recent(connection, first_deliveries, WINDOW)
        self.first_deliveries = first_deliveries
        self._batches = deque((row.first_deliveries, decoder.decode(row.deliveries)) for row in rows)

    def forget(self) -> None:
        """Forget all of them."""
        self._batches.clear()

    def filter(self, messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
        """The messages that are new, and those that repeat others.

        The others are committed, or come earlier in this batch.
        """
        # A list, which takes half the time of a generator.
        if not any([message.redelivered or message.copy for message in messages]):  # noqa: C419 - see above
            return messages, ()
        # By packet id, the newest wins: where a broker has used the id again, the older message is settled.
        known = {packet_id: content for _, batch in self._batches for packet_id, content in batch}
        fresh: list[Message] = []
        repeated: list[Message] = []
        for message in messages:
            content = message.fingerprint()
            again = message.redelivered and known.get(message.packet_id) == content
            is_repeated = message.copy or (again and message.packet_id)
            (repeated if is_repeated else fresh).append(message)
            known[message.packet_id] = content
        return fresh, repeated

    @contextmanager
    def committing(self, messages: Sequence[Message]) -> Iterator[DeliveryRecord]:
        """Around the transaction of a batch: remember it once that is committed."""
        batch = DeliveryRecord(self._first(messages))
        yield batch
        self._committed(batch)

    def record(self, connection: Connection, batch: DeliveryRecord, unkeyed: Iterable[Message]) -> None:
        """Write the deliveries of a batch that no unique key would absorb, in its transaction."""
        batch.deliveries = [(one.packet_id, one.fingerprint()) for one in unkeyed if one.packet_id]
        if batch.deliveries:
            self._write(connection, batch)

    def _first(self, messages: Sequence[Message]) -> int:
        return [message.redelivered for message in messages].count(False)

    def _write(self, connection: Connection, batch: DeliveryRecord) -> None:
        text = msgspec.json.encode(batch.deliveries).decode()
        first = self.first_deliveries + batch.first
        queries.deliveries.record(connection, first, text, WINDOW)

    def _committed(self, batch: DeliveryRecord) -> None:
        self.first_deliveries += batch.first
        if batch.deliveries:
            self._batches.append((self.first_deliveries, batch.deliveries))
        while self._batches and self._batches[0][0] < self.first_deliveries - WINDOW:
            self._batches.popleft()


class Unrecorded(RecentDeliveries):
    """Those of a session that is about to end; packet ids of two sessions must not be mixed in the table."""

    def _first(self, _: Sequence[Message]) -> int:
        return 0  # they are not those of the session in use

    def _write(self, connection: Connection, batch: DeliveryRecord) -> None:
        """Keep them in memory only."""

    def _committed(self, batch: DeliveryRecord) -> None:
        # What is not counted does not grow old.
        super()._committed(DeliveryRecord(len(batch.deliveries), batch.deliveries))
