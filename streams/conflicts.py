"""Checks between streams, and between streams and settings: no two may have one table or topic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from streams.checks import StreamError
from streams.own_topics import NOTICES, DeviceTopics
from streams.stream import Stream
from streams.topics import TopicPattern


class _Use(NamedTuple):
    """A use of a topic: readings or device messages come there, or AutoForge publishes there."""

    key: str
    """Where the topic is declared."""
    topic: TopicPattern
    is_own: bool = False
    """Whether it is a topic of AutoForge, which precedes those of metrics."""
    is_published: bool = False
    is_presence: bool = False


_NOTICES = _Use("AutoForge's notices", NOTICES, is_own=True, is_published=True)


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
    settings = _uses_of_settings(device_topics.by_setting())
    received = [use for other in others for use in _received(other)]
    own = _received(stream)
    for presence in (use for use in own if use.is_presence):
        _check(presence, [use for use in own if not use.is_presence])
    for use in own:
        _check(use, [_NOTICES, *settings, *received, *_published(others)])
    for use in _published([stream]):
        _check(use, [_NOTICES, *settings, *received, *own])


def published(streams: Iterable[Stream], device_topics: DeviceTopics) -> list[TopicPattern]:
    """Return the topics on which AutoForge publishes."""
    return [NOTICES, device_topics.control, *(use.topic for use in _published(streams))]


def _uses_of_settings(topics: Mapping[str, TopicPattern]) -> list[_Use]:
    return [
        _Use(name, topic, is_own=True, is_published=name == "CONTROL_TOPIC")
        for name, topic in topics.items()
    ]


def _received(stream: Stream) -> list[_Use]:
    # A setting may replace the topic of the file.
    key = stream.topic.setting or f"{stream.name}.toml: topic"
    uses = [_Use(key, topic) for topic in stream.topics]
    if stream.presence is not None:
        key = f"{stream.name}.toml: presence.topic"
        uses.append(_Use(key, stream.presence.pattern, is_presence=True))
    return uses


def _published(streams: Iterable[Stream]) -> list[_Use]:
    return [
        _Use(f"{stream.name}.toml: {key}", TopicPattern.of(text), is_own=True, is_published=True)
        for stream in streams
        for key, text in stream.health.topics().items()
    ]


def _check(use: _Use, taken: Sequence[_Use]) -> None:
    """Check that no message can belong to a use and to one of the others. Raises StreamError."""
    for other in taken:
        if _is_clash(use, other):
            raise StreamError(_clash(other, use))


def _is_clash(use: _Use, other: _Use) -> bool:
    """Return whether a message could belong to both uses.

    A message on a topic on which AutoForge publishes is taken for its own. Only a pattern for any
    topics, which evidently means other ones, may overlap with these, and one of presence, which
    loses no more than one name: `{device_id}/status` is that of many devices.
    """
    is_presence = use.is_presence or other.is_presence
    if is_presence or not (use.is_published or other.is_published):
        return use.topic.conflicts(other.topic, metrics_first=not (use.is_own or other.is_own))
    received = [each.topic for each in (use, other) if not each.is_published]
    return use.topic.overlaps(other.topic) and not any(topic.is_wide for topic in received)


def _clash(one: _Use, other: _Use) -> str:
    """Return the message about two overlapping topics; it blames a setting before a file."""
    if one.topic.setting and not other.topic.setting:
        one, other = other, one
    blamed = f"{other.key}={other.topic}" if other.topic.setting else other.key
    return f"{blamed}: overlaps with {one.key} ({one.topic})"
