"""Declarations that cannot be used, and the topics whose messages are set aside for them."""

import re
import tomllib
from collections.abc import Mapping, Sequence

from streams.checks import StreamError
from streams.files import DeclarationFile
from streams.registry import UnusableDeclaration
from streams.topic_checks import check_topic
from streams.topics import METRIC, LevelKind, TopicPattern, kind_of

# Finds the topic in a file that is not valid TOML.
_TOPIC_LINE = re.compile(r"""^[ \t]*topic[ \t]*=[ \t]*(["'])(?P<topic>[^"'\n]*)\1""", re.MULTILINE)


def set_aside(
    faults: Mapping[DeclarationFile, str],
    topics: Mapping[str, str],
    taken: Sequence[TopicPattern],
    own: Sequence[TopicPattern],
) -> Sequence[UnusableDeclaration]:
    """Return the unusable declarations, with the topics whose messages can be set aside."""
    unusable: list[UnusableDeclaration] = []
    for file, reason in faults.items():
        others = [*taken, *(other.topic for other in unusable if other.topic is not None)]
        topic = _topic_to_set_aside(topics.get(file.name) or _declared_topic(file))
        # A stream whose topic covers this one rejects its messages in its own name, and what
        # AutoForge hears where it publishes is its own.
        is_of_others = topic is not None and (
            any(other.hides(topic) for other in others)
            or any(other.overlaps(topic) for other in own)
        )
        unusable.append(UnusableDeclaration(file.name, reason, None if is_of_others else topic))
    return unusable


def _declared_topic(file: DeclarationFile) -> object:
    text = file.content.decode("utf-8-sig", errors="replace")
    try:
        return tomllib.loads(text).get("topic")
    except (tomllib.TOMLDecodeError, RecursionError):
        # A table such as [presence] may have a topic of its own.
        found = _TOPIC_LINE.search(text.partition("\n[")[0])
        return found and found["topic"]


def _topic_to_set_aside(text: object) -> TopicPattern | None:
    if not isinstance(text, str):
        return None
    # Any value of `{metric}` is set aside.
    pattern = TopicPattern.of(text.replace(METRIC, "+"))
    try:
        check_topic(pattern)
    except StreamError:
        return None
    has_plain = any(kind_of(level) is LevelKind.LITERAL for level in pattern.levels)
    return pattern if has_plain else None
