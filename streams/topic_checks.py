"""Checks of the topics of one stream, and of the keys that belong to them."""

from collections.abc import Sequence

import msgspec

from streams.checks import StreamError, check_sendable, check_visible, expect
from streams.presence_words import PresenceWord
from streams.stream import KEY, Stream
from streams.topics import DEVICE, METRIC, PLACEHOLDER, LevelKind, TopicPattern, kind_of, name_of


def check_topic(topic: TopicPattern, key: str = "topic") -> None:
    """Check a topic of a stream, which is declared by this key. Raises StreamError."""
    check_sendable(key, str(topic))
    first, *others = topic.levels
    expect(others or first, key, "a topic such as sensors/{device_id}/data")
    # A leading / makes the first level empty.
    expect("" not in others, key, "no empty level behind the first one")
    shared = first.startswith("$share") and len(others) > 1
    expect(not shared, key, "a topic without $share and the group")
    for level in topic.levels:
        plain = not any(character in level for character in "+#{}")
        wild = level in ("+", "#") or PLACEHOLDER.fullmatch(level)
        expect(
            plain or wild,
            key,
            f"{DEVICE}, {METRIC}, another {{name}}, {{name...}}, + or # as a whole level, "
            f"not {level!r}",
        )
    for name in topic.names:
        expect(topic.names.count(name) == 1, key, f"{{{name}}} at most once")
    expect("{metric...}" not in topic.levels, key, f"{METRIC}, whose levels may have /")
    many = [level for level in topic.levels if kind_of(level) is LevelKind.MANY]
    expect(len(many) <= 1, key, f"one of {', '.join(many)}, not all of them")
    expect("#" not in topic.levels[:-1], key, "# as the last level")


def check_topics(topics: Sequence[TopicPattern]) -> None:
    """Check the topics of a stream beside each other. Raises StreamError."""
    expect(topics, "topic", "at least one topic")
    first = set(topics[0].names)
    for topic in topics[1:]:
        expect(set(topic.names) == first, "topic", "the same placeholders in every topic")


def check_topic_keys(stream: Stream) -> None:
    """Check the keys of a stream that belong to its topic. Raises StreamError."""
    is_inside = stream.device_paths or KEY in stream.device_parts
    has_device = stream.is_named_by_topic or is_inside or stream.device_default
    expect(has_device, "device", "the payload's field with the device id, or {device_id} in topic")
    for part in stream.device_parts:
        known = ", ".join(f"{{{one}}}" for one in stream.topic.names) or "none"
        is_inside = part in stream.device_paths or (part == KEY and stream.shape.exploded)
        is_known = is_inside or name_of(part) in stream.topic.names
        expect(is_known, "device", f"a placeholder of the topic: {known}")
    for name in stream.simulate.levels:
        is_free = name in stream.topic.names and name not in ("device_id", "metric")
        expect(is_free, "simulate.levels", f"placeholders of the topic other than {DEVICE}")
    _check_excluded(stream)
    if stream.topic.has_metric:
        for level, metrics in stream.topic.metric_levels.items():
            key = f"metrics.{metrics[0]}.level"
            plain = level and not set(level) & set("+#") and "" not in level.split("/")
            expect(plain, key, "levels without + and #, none of them empty")
            check_visible(key, level)
            check_sendable("topic", stream.topic.fill("", level))
        shape = stream.shape
        for name in ("values", "explode", "pairs", "rest"):
            expected = "nothing, because each metric has its own topic"
            expect(not getattr(shape, name), name, expected)


def _check_excluded(stream: Stream) -> None:
    for level in stream.excluded:
        is_level = level and not set(level) & set("/+#")
        expect(is_level, "except", f"levels of topics, not {level!r}")
        own = next((topic for topic in stream.topics if level in topic.levels), None)
        expect(own is None, "except", f"no level of the stream's own topic {own}")


def check_presence(stream: Stream) -> None:
    """Check the table `presence` of a stream. Raises StreamError."""
    if stream.presence is None:
        return
    topic = stream.presence.pattern
    key = "presence.topic"
    check_topic(topic, key)
    expect(not topic.has_metric, key, f"a topic without {METRIC}")
    for name in stream.names_of_device:
        _check_placeholder(stream, topic, name)
    words = {
        name: [_presence_word(f"presence.{name}", text) for text in texts]
        for name, texts in stream.presence.words.items()
    }
    for name, declared in words.items():
        expect(declared, f"presence.{name}", "at least one word")
    shared = [one for one in words["offline"] if any(map(one.means, words["online"]))]
    expect(not shared, "presence.offline", "other words than those of online")


def _check_placeholder(stream: Stream, topic: TopicPattern, name: str) -> None:
    """Check that the topic of presence names the device as the stream's own topics do."""
    both = (f"{{{name}}}", f"{{{name}...}}")
    # With and without dots, a name with a dot makes different device ids.
    own = [level for level in both if any(level in one.levels for one in stream.topics)] or both
    is_there = any(level in topic.levels for level in own)
    expect(is_there, "presence.topic", f"a level {' or '.join(own)}, for the device id")


def _presence_word(key: str, text: str) -> PresenceWord:
    check_visible(key, text)
    try:
        word = PresenceWord.declared(text)
    except msgspec.DecodeError as error:
        raise StreamError(f"{key}: expected JSON or a word, not {text!r}: {error}") from error
    expect(word.text, key, "a word; an empty payload clears the presence")
    return word
