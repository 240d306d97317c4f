"""Retained messages: the topics that have one of ours, and clearing those that no entry keeps any more."""

from collections.abc import Iterable

from publisher.line import Line, Message, Outcome, Sender


class Retained:
    """Topics on which a retained message was published, until the broker has confirmed that it is cleared."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._topics = set(topics)
        self._wanted: set[str] = set()
        self._stale: set[str] = set()

    def topics(self) -> list[str]:
        """All that have one, or may have."""
        return sorted(self._topics.copy())

    def published(self, topic: str) -> None:
        """Note that a retained message is published there."""
        self._topics.add(topic)

    def refused(self, topic: str) -> None:
        """Note that the broker takes nothing there, so that there is nothing to clear."""
        self._topics.discard(topic)
        self._stale.discard(topic)

    def want(self, topics: Iterable[str]) -> None:
        """Keep the messages of these topics, and clear the others."""
        self._wanted = set(topics)
        self._stale = self._topics - self._wanted

    def last_of(self, topic: str) -> tuple[Message, Sender] | None:
        """What clears a topic, to be the last message of a line that has been publishing there."""
        if topic not in self._stale:
            return None
        self._stale.discard(topic)
        return Message(topic, b"", 1, retain=True), _Clearing(self, topic)

    def clear(self, line: Line, most: int) -> None:
        """Clear up to so many topics, as far as the line has room."""
        for topic in sorted(self._stale)[:most] if line.room else ():
            if line.room and (last := self.last_of(topic)):
                line.publish(*last)

    def settled(self, topic: str, outcome: Outcome) -> None:
        """Hear what became of a clearing message."""
        if topic in self._wanted:
            return
        if outcome is Outcome.LOST:
            self._stale.add(topic)
        else:
            self._topics.discard(topic)


class _Clearing:
    """Follows one message that clears a topic."""

    def __init__(self, retained: Retained, topic: str) -> None:
        self._retained = retained
        self._topic = topic

    def settled(self, outcome: Outcome) -> None:
        self._retained.settled(self._topic, outcome)
