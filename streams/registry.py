"""The registry: all declared streams, and the stream that a topic belongs to."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streams.conflicts import published
from streams.matching import TopicMatcher
from streams.own_topics import DeviceTopics, OwnTopics
from streams.stream import Stream
from streams.topics import TopicPattern
from utils.topic_filters import covers, fewest, overlap


class UnusableDeclaration(NamedTuple):
    """A declaration that cannot be used."""

    name: str
    reason: str
    topic: TopicPattern | None
    """The topic whose messages are set aside; None if it is unknown or belongs to others."""


class Streams:
    """The usable streams by name, the match of topics to streams, and the unusable declarations."""

    def __init__(
        self,
        streams: list[Stream],
        device_topics: DeviceTopics,
        unusable: Sequence[UnusableDeclaration] = (),
        digest: str = "",
        catch_all: str = "",
    ) -> None:
        self.device_topics = device_topics
        self.unusable = {declaration.name: declaration.reason for declaration in unusable}
        """Why a declaration cannot be used, by the stream's name."""
        self.digest = digest
        """A hash of the declarations."""
        self.knows_all_topics = all(declaration.topic is not None for declaration in unusable)
        """Whether every unusable declaration has a topic whose messages can be set aside."""
        self._set_aside = [declaration for declaration in unusable if declaration.topic is not None]
        self._by_name = {stream.name: stream for stream in streams}
        own = published(streams, device_topics)
        presence = [stream.presence.pattern for stream in streams if stream.presence]
        matcher = TopicMatcher(
            [
                *((topic, stream) for stream in streams for topic in stream.topics),
                *((topic, None) for topic in (*own, *device_topics, *presence)),
            ]
        )
        self.match = matcher.match
        """Return the stream of a topic and what the topic says, or None."""
        self.filters = filters_for(self._patterns(), catch_all)
        """The filters to subscribe to: declared topics with any metric, and CATCH_ALL_TOPIC."""
        self.own_topics = OwnTopics(own, self.filters)
        """The topics on which AutoForge publishes."""

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Stream:
        return self._by_name[name]

    def get(self, name: str) -> Stream | None:
        """Return the stream with this name, or None."""
        return self._by_name.get(name)

    def subscriptions(self) -> list[str]:
        """Return the filters of all declared topics, one for each metric with its own topic."""
        return [topic for pattern in self._patterns() for topic in pattern.subscriptions()]

    def unusable_at(self, topic: str) -> UnusableDeclaration | None:
        """Return the unusable declaration whose topic this is, or None."""
        levels = TopicPattern.of(topic)
        found = (it for it in self._set_aside if it.topic is not None and it.topic.overlaps(levels))
        return next(found, None)

    def undeclared(self, topic: str) -> Stream | None:
        """Return the stream that a topic would belong to if its metric was declared, or None."""
        declared = [(pattern, stream) for stream in self for pattern in stream.topics]
        for pattern, stream in sorted(declared, key=lambda each: each[0].order):
            if re.fullmatch(pattern.regex(any_metric=True), topic, re.DOTALL):
                return stream
        return None

    def _patterns(self) -> list[TopicPattern]:
        set_aside = [it.topic for it in self._set_aside if it.topic is not None]
        return [
            *(topic for stream in self for topic in stream.received),
            self.device_topics.ack,
            self.device_topics.status,
            *set_aside,
        ]


def filters_for(patterns: Sequence[TopicPattern], catch_all: str = "") -> list[str]:
    """Return the filters for these topics, undeclared metrics included, and a catch-all filter.

    A topic may match two of them. Raises ValueError if the catch-all filter covers a part of a
    topic pattern.
    """
    extra = [catch_all] if catch_all else []
    filters = fewest([*(one for pattern in patterns for one in pattern.filters()), *extra])
    for pattern in patterns if catch_all in filters else ():
        overlapping = [one for one in pattern.subscriptions() if overlap(one, catch_all)]
        if not all(covers(catch_all, one) for one in overlapping):
            whole = pattern.filters()[0]
            raise ValueError(
                f"expected a filter that covers all of {whole} or none of it, such as #"
            )
    return filters
