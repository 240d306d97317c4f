"""Retained messages: the topics that have one, and clearing those without an entry."""

from collections.abc import Iterable

from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery, Sender, TrackedConnection


class Retained:
    """Topics of retained messages, until the broker has confirmed that they are cleared."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._topics = set(topics)
        self._wanted: set[str] = set()
        self._stale: set[str] = set()

    def topics(self) -> list[str]:
        """Return all topics that have, or may have, a retained message."""
        return sorted(self._topics.copy())

    def published(self, topic: str) -> None:
        """Record that a topic has a retained message."""
        self._topics.add(topic)

    def want(self, topics: Iterable[str]) -> None:
        """Keep the messages of these topics, and clear the others."""
        self._wanted = set(topics)
        self._stale = self._topics - self._wanted

    def last_of(self, topic: str) -> tuple[Outgoing, Sender] | None:
        """Return the message that clears a topic, or None if it keeps its message."""
        if topic not in self._stale:
            return None
        self._stale.discard(topic)
        return Outgoing(topic, b"", 1, retain=True), _Clearing(self, topic)

    def clear(self, connection: TrackedConnection, most: int) -> None:
        """Clear up to `most` topics, as far as the connection has room."""
        for topic in sorted(self._stale)[:most] if connection.room else ():
            if connection.room and (last := self.last_of(topic)):
                connection.publish(*last)

    def on_delivery(self, topic: str, delivery: Delivery) -> None:
        """Clear a topic again if the clearing message was lost."""
        if topic in self._wanted:
            return
        if delivery is Delivery.LOST:
            self._stale.add(topic)
        else:
            self._topics.discard(topic)


class _Clearing:
    """Follows one message that clears a topic."""

    def __init__(self, retained: Retained, topic: str) -> None:
        self.name = topic
        self._retained = retained

    def on_delivery(self, delivery: Delivery) -> None:
        self._retained.on_delivery(self.name, delivery)
