"""Checks between streams, and between streams and settings: no two may have one table or topic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from streams.checks import StreamError
from streams.stream import Stream
from streams.topics import NOTICES, DeviceTopics, TopicPattern


class _Use(NamedTuple):
    """A use of a topic: readings or device messages come there, or AutoForge publishes there."""

    key: str
    """Where the topic is declared."""
    topic: TopicPattern
    is_published: bool = False


_NOTICES = _Use("AutoForge's notices", NOTICES, is_published=True)


def check_settings(topics: Mapping[str, TopicPattern]) -> None:
    """Check that the topics of the settings do not overlap. Raises StreamError."""
    taken = [_NOTICES]
    for use in _uses_of_settings(topics):
        _check(use, taken)
        taken.append(use)


def check_conflicts(stream: Stream, others: Sequence[Stream], device_topics: DeviceTopics) -> None:
    """Check that a stream conflicts with no other and no topic of the settings.

    Raises StreamError.
    """
    for other in others:
        if stream.table == other.table:
            wanted = f"expected a table other than {stream.table}, which {other.name}.toml uses"
            raise StreamError(f"{stream.name}.toml: table: {wanted}")
    taken = [_NOTICES, *_uses_of_settings(device_topics.by_setting()), *map(_received, others)]
    _check(_received(stream), [*taken, *_published(others)])
    for use in _published([stream]):
        _check(use, [*taken, _received(stream)])


def published(streams: Iterable[Stream], device_topics: DeviceTopics) -> list[TopicPattern]:
    """Return the topics on which AutoForge publishes."""
    return [NOTICES, device_topics.control, *(use.topic for use in _published(streams))]


def _uses_of_settings(topics: Mapping[str, TopicPattern]) -> list[_Use]:
    return [_Use(name, topic, name == "CONTROL_TOPIC") for name, topic in topics.items()]


def _received(stream: Stream) -> _Use:
    # A setting may replace the topic of the file.
    return _Use(stream.topic.setting or f"{stream.name}.toml: topic", stream.topic)


def _published(streams: Iterable[Stream]) -> list[_Use]:
    return [
        _Use(f"{stream.name}.toml: {key}", TopicPattern.of(text), is_published=True)
        for stream in streams
        for key, text in stream.health.topics().items()
    ]


def _check(use: _Use, taken: Sequence[_Use]) -> None:
    """Check that no message can belong to a use and to one of the others.

    A topic on which AutoForge publishes may not even be a part of another, because a message
    there is taken for its own.
    """
    for other in taken:
        is_published = use.is_published or other.is_published
        topic = other.topic
        if topic.overlaps(use.topic) if is_published else topic.conflicts(use.topic):
            raise StreamError(_clash(other, use))


def _clash(one: _Use, other: _Use) -> str:
    """Return the message about two overlapping topics; it blames a setting before a file."""
    if one.topic.setting and not other.topic.setting:
        one, other = other, one
    blamed = f"{other.key}={other.topic}" if other.topic.setting else other.key
    return f"{blamed}: overlaps with {one.key} ({one.topic})"
