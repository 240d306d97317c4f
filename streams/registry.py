"""The registry: all declared streams, and the stream that a topic belongs to."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streams.conflicts import published
from streams.stream import Stream
from streams.topics import DeviceTopics, OwnTopics, TopicPattern, filters_for
from utils.caching import remembering


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
        # One expression for all topics: the group that matched identifies the stream, if any.
        patterns: list[tuple[TopicPattern, Stream | None]] = [
            (stream.topic, stream) for stream in streams
        ]
        patterns += [(topic, None) for topic in device_topics]
        patterns.sort(key=lambda entry: entry[0].order)
        parts = [self._named(index, pattern) for index, (pattern, _) in enumerate(patterns)]
        self._regex = re.compile("|".join(parts), re.DOTALL)
        self._holders = [holder for _, holder in patterns]
        self.own_topics = OwnTopics(published(streams, device_topics), hears_all=bool(catch_all))
        """The topics on which AutoForge publishes."""
        self.filters = filters_for(self._patterns(), catch_all)
        """The filters to subscribe to: declared topics with any metric, and CATCH_ALL_TOPIC."""
        self.match = remembering(self._match, 20_000)
        """Return the stream, the device id and the metric's level of a topic, or None."""

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
        for stream in self:
            pattern = stream.topic
            if pattern.has_metric and re.fullmatch(pattern.whole_regex(), topic, re.DOTALL):
                return stream
        return None

    def _patterns(self) -> list[TopicPattern]:
        set_aside = [it.topic for it in self._set_aside if it.topic is not None]
        return [
            *(stream.topic for stream in self),
            self.device_topics.ack,
            self.device_topics.status,
            *set_aside,
        ]

    def _match(self, topic: str) -> tuple[Stream, str | None, str | None] | None:
        found = self._regex.fullmatch(topic)
        if found is None:
            return None
        groups = found.groupdict()
        index = next(i for i in range(len(self._holders)) if groups[f"s{i}"] is not None)
        stream = self._holders[index]
        if stream is None:
            return None
        return stream, groups.get(f"device{index}"), groups.get(f"metric{index}")

    @staticmethod
    def _named(index: int, pattern: TopicPattern) -> str:
        regex = pattern.regex()
        for group in ("device", "metric"):
            regex = regex.replace(f"(?P<{group}>", f"(?P<{group}{index}>")
        return f"(?P<s{index}>{regex})"
