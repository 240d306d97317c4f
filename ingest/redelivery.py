"""Redeliveries of messages without a usable device time, which the table's key cannot detect.

Their timestamp is the server's, so a second delivery would get another key. They are identified
by MQTT's own mark: the same packet id with the DUP flag. The packet ids and hashes of the newest
committed messages are kept in memory and, in the transaction of each batch, in the table
`delivered_batches`, so that the next ingester knows them too.

Newest means: among the last 50,000 first deliveries. A broker has at most that many messages
in flight, and it reuses a packet id only after 65,535 others, so an old message with the same id
and payload is not mistaken for a redelivery.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

import queries.deliveries
from broker.message import Message

REDELIVERY_SPAN = 50_000
"""How many first deliveries back a redelivery is recognised."""
Delivery = tuple[int, int]
"""Packet id and `Message.fingerprint`."""


@dataclass
class DeliveryRecord:
    """The deliveries of the batch that is being committed."""

    first: int
    """How many messages of the batch had no DUP flag."""
    deliveries: list[Delivery] = field(default_factory=list)


class RecentDeliveries:
    """The newest committed deliveries without a usable device time."""

    def __init__(self) -> None:
        self.first_deliveries = 0
        """How many messages were ever delivered for the first time."""
        self._batches: deque[tuple[int, list[Delivery]]] = deque()

    def resume(self, connection: Connection, first_deliveries: int) -> None:
        """Read the deliveries that an earlier ingester recorded."""
        decoder = msgspec.json.Decoder(list[Delivery])
        rows = queries.deliveries.recent(connection, first_deliveries, REDELIVERY_SPAN)
        self.first_deliveries = first_deliveries
        self._batches = deque(
            (row.first_deliveries, decoder.decode(row.deliveries)) for row in rows
        )

    def forget(self) -> None:
        """Forget all deliveries."""
        self._batches.clear()

    def filter(self, messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
        """Return the new messages, and the messages that repeat a committed or earlier one."""
        # A list takes half the time of a generator.
        if not any([one.redelivered or one.copy for one in messages]):  # noqa: C419 - see above
            return messages, ()
        # The newest entry of a packet id wins: a broker reuses an id after its acknowledgement.
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
        """Wrap the transaction of a batch, and remember its deliveries after the commit."""
        batch = DeliveryRecord(self._first(messages))
        yield batch
        self._committed(batch)

    def record(
        self, connection: Connection, batch: DeliveryRecord, unkeyed: Iterable[Message]
    ) -> None:
        """Write the deliveries that no unique key identifies, in the transaction of the batch."""
        batch.deliveries = [(one.packet_id, one.fingerprint()) for one in unkeyed if one.packet_id]
        if batch.deliveries:
            self._write(connection, batch)

    def _first(self, messages: Sequence[Message]) -> int:
        return [message.redelivered for message in messages].count(False)

    def _write(self, connection: Connection, batch: DeliveryRecord) -> None:
        text = msgspec.json.encode(batch.deliveries).decode()
        first = self.first_deliveries + batch.first
        queries.deliveries.record(connection, first, text, REDELIVERY_SPAN)

    def _committed(self, batch: DeliveryRecord) -> None:
        self.first_deliveries += batch.first
        if batch.deliveries:
            self._batches.append((self.first_deliveries, batch.deliveries))
        while self._batches and self._batches[0][0] < self.first_deliveries - REDELIVERY_SPAN:
            self._batches.popleft()


class Unrecorded(RecentDeliveries):
    """Deliveries of a session that is being ended, which are kept out of the table."""

    def _first(self, _: Sequence[Message]) -> int:
        return 0  # the table counts only the current session

    def _write(self, connection: Connection, batch: DeliveryRecord) -> None:
        """Write nothing: these deliveries are kept in memory only."""

    def _committed(self, batch: DeliveryRecord) -> None:
        # The count must grow, so that old batches are dropped.
        super()._committed(DeliveryRecord(len(batch.deliveries), batch.deliveries))
