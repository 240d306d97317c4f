"""The registry: all declared streams, and to which of them a topic belongs."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streams.stream import Stream
from streams.topics import DeviceTopics, TopicPattern, filters_for
from utils.caching import remembering

_OWN_ROOTS = ("$", "autoforge/")
_OWN = "autoforge/[^/]*/notices"


class UnusableDeclaration(NamedTuple):
    """A declaration that cannot be used."""

    name: str
    reason: str
    topic: TopicPattern | None
    """From where its messages are set aside; None where that cannot be told, or others take them."""


class Streams:
    """All streams that can be used, by name; which of them a topic belongs to; and the declarations that cannot."""

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
        """Different for different declarations."""
        self.knows_all_topics = all(declaration.topic is not None for declaration in unusable)
        """Whether no declaration is without a topic from which its messages can be set aside."""
        self._set_aside = [declaration for declaration in unusable if declaration.topic is not None]
        self._catch_all = catch_all
        self.own_roots = ("",) if catch_all else _OWN_ROOTS
        """A topic that begins with none of these is not `is_own`; to look at that takes half the time of a call."""
        self._by_name = {stream.name: stream for stream in streams}
        # One expression for all: the group that matched tells the stream, or that it is a topic beside the readings.
        patterns: list[tuple[TopicPattern, Stream | None]] = [(stream.topic, stream) for stream in streams]
        patterns += [(topic, None) for topic in device_topics]
        patterns.sort(key=lambda entry: entry[0].order)
        parts = [self._named(index, pattern) for index, (pattern, _) in enumerate(patterns)]
        self._regex = re.compile("|".join(parts), re.DOTALL)
        self._holders = [holder for _, holder in patterns]
        self._ordered = streams
        self._own = re.compile("|".join(self._own_topics()), re.DOTALL)
        self.filters = filters_for(self._patterns(), catch_all)
        """What to subscribe to: the declared topics, undeclared metrics beside them, and what CATCH_ALL_TOPIC says."""
        self.match = remembering(self._match, 20_000)
        """The stream, the device id and the metric's level that a topic names, or None."""

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._ordered)

    def __getitem__(self, name: str) -> Stream:
        return self._by_name[name]

    def get(self, name: str) -> Stream | None:
        """The stream with this name, or None."""
        return self._by_name.get(name)

    def subscriptions(self) -> list[str]:
        """The filters of every declared topic, one for each metric that has its own."""
        return [topic for pattern in self._patterns() for topic in pattern.subscriptions()]

    def unusable_at(self, topic: str) -> UnusableDeclaration | None:
        """The declaration that cannot be used and would take this topic, which no other does."""
        levels = TopicPattern(tuple(topic.split("/")), {})
        found = (it for it in self._set_aside if it.topic is not None and it.topic.overlaps(levels))
        return next(found, None)

    def is_own(self, topic: str) -> bool:
        """Whether AutoForge, or the broker itself, publishes on this topic: then it is nobody's reading."""
        if not topic.startswith(self.own_roots):
            return False
        return topic.startswith("$") or self._own.fullmatch(topic) is not None

    def publishes(self, topic: str) -> bool:
        """Whether AutoForge publishes on this topic, of which a wide filter gives it its own messages back."""
        return self._own.fullmatch(topic) is not None

    def undeclared(self, topic: str) -> Stream | None:
        """The stream to which a topic would belong if it had declared the metric."""
        found = (s for s in self if s.topic.has_metric and re.fullmatch(s.topic.whole_regex(), topic, re.DOTALL))
        return next(found, None)

    def _patterns(self) -> list[TopicPattern]:
        set_aside = [it.topic for it in self._set_aside if it.topic is not None]
        return [*(stream.topic for stream in self), self.device_topics.ack, self.device_topics.status, *set_aside]

    def _own_topics(self) -> list[str]:
        published = [topic for stream in self for topic in stream.health.topics().values()]
        return [_OWN, self.device_topics.control.regex(), *map(re.escape, published)]

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
