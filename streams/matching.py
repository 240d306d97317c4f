"""Find the stream that a topic belongs to."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.stream import Stream
from streams.topics import NO_NAMES, TopicPattern
from utils.caching import remembering


class TopicMatch(NamedTuple):
    """The stream of a topic, and what the topic says."""

    stream: Stream
    device_id: str | None
    """The device id; None if it is not in the topic."""
    level: str | None
    """The value of `{metric}`; None if it is not in the topic."""
    is_excluded: bool = False
    """Whether a level of the topic is one that the stream excludes."""
    names: Mapping[str, str] = NO_NAMES
    """The values of the topic's other placeholders."""


class TopicMatcher:
    """Matches topics to the patterns of streams, and to those of AutoForge, which have none."""

    def __init__(self, patterns: Iterable[tuple[TopicPattern, Stream | None]]) -> None:
        self._patterns = sorted(patterns, key=lambda entry: entry[0].order)
        # One expression for all topics: the group that matched identifies the pattern.
        parts = [
            f"(?P<s{index}>{pattern.regex(f'_{index}')})"
            for index, (pattern, _) in enumerate(self._patterns)
        ]
        self._regex = re.compile("|".join(parts), re.DOTALL)
        self.match = remembering(self._match, 20_000)
        """Return the match of a topic with a stream, or None."""

    def _match(self, topic: str) -> TopicMatch | None:
        found = self._regex.fullmatch(topic)
        if found is None:
            return None
        groups = found.groupdict()
        index = next(i for i in range(len(self._patterns)) if groups[f"s{i}"] is not None)
        pattern, stream = self._patterns[index]
        if stream is None:
            return None
        parts = pattern.parts(groups, f"_{index}")
        is_excluded = not stream.excluded.isdisjoint(topic.split("/"))
        device_id = stream.device_of(parts)
        return TopicMatch(stream, device_id, parts.level, is_excluded, parts.names)
