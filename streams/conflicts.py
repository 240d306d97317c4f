"""Checks between streams, and between streams and settings: no two may have one table or topic."""

from collections.abc import Mapping, Sequence

from streams.checks import StreamError
from streams.stream import Stream
from streams.topics import DeviceTopics, TopicPattern


def check_settings(topics: Mapping[str, TopicPattern]) -> None:
    """Check that the topics of the settings do not overlap. Raises StreamError."""
    taken: dict[str, TopicPattern] = {}
    for name, topic in topics.items():
        for holder, pattern in taken.items():
            if topic.conflicts(pattern):
                raise StreamError(_clash(holder, pattern, name, topic))
        taken[name] = topic


def check_conflicts(stream: Stream, others: Sequence[Stream], device_topics: DeviceTopics) -> None:
    """Check that a stream conflicts with no other and no topic of the settings.

    Raises StreamError.
    """
    for other in others:
        _check_pair(stream, other)
    taken = device_topics.by_setting()
    for name, topic in taken.items():
        if topic.conflicts(stream.topic):
            raise StreamError(_clash(_topic_key(stream), stream.topic, name, topic))
    streams = (*others, stream)
    received = taken | {_topic_key(one): one.topic for one in streams}
    for one in streams:
        _check_published(one, received)


def _check_published(stream: Stream, taken: Mapping[str, TopicPattern]) -> None:
    for key, text in stream.health.topics().items():
        published = TopicPattern(tuple(text.split("/")), {})
        for holder, pattern in taken.items():
            if published.overlaps(pattern):
                wanted = f"expected a topic other than that of {holder}"
                raise StreamError(f"{stream.name}.toml: {key}: {wanted}")


def _topic_key(stream: Stream) -> str:
    """Return where the topic of a stream is declared: its file, or a setting that replaces it."""
    return stream.topic.setting or f"{stream.name}.toml: topic"


def _clash(name: str, topic: TopicPattern, other_name: str, other: TopicPattern) -> str:
    """Return the message about two overlapping topics; it blames a setting before a file."""
    if other.setting and not topic.setting:
        name, topic, other_name, other = other_name, other, name, topic
    blamed = f"{name}={topic}" if topic.setting else name
    return f"{blamed}: overlaps with {other_name} ({other})"


def _check_pair(stream: Stream, other: Stream) -> None:
    if stream.table == other.table:
        wanted = f"expected a table other than {stream.table}, which {other.name}.toml uses"
        raise StreamError(f"{stream.name}.toml: table: {wanted}")
    if stream.topic.conflicts(other.topic):
        raise StreamError(_clash(_topic_key(stream), stream.topic, _topic_key(other), other.topic))
