"""The topics of AutoForge itself: those of every device beside its readings, and the notices."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from config import Settings
from streams.topics import DEVICE, TopicPattern
from utils.topic_filters import overlap

NOTICES = TopicPattern(("autoforge", DEVICE, "notices"), {})
"""The topics on which the processes of AutoForge tell each other what is new."""


class OwnTopics:
    """The topics on which AutoForge publishes; what it hears there has no readings."""

    def __init__(self, published: Sequence[TopicPattern], filters: Sequence[str]) -> None:
        self._regex = re.compile(
            "|".join(topic.regex(f"_{index}") for index, topic in enumerate(published)), re.DOTALL
        )
        heard = any(
            overlap(one, its)
            for topic in published
            if topic is not NOTICES
            for its in topic.filters()
            for one in filters
        )
        self.roots = ("",) if heard else ("$", "autoforge/")
        """Prefixes of the topics in `self`; checking these first halves the time."""
        declared = [one for one in filters if one.startswith("$")]
        self._declared = re.compile("|".join(map(_filter_regex, declared)) or "(?!)", re.DOTALL)

    def __contains__(self, topic: str) -> bool:
        """Return whether AutoForge or the broker publishes on this topic."""
        if not topic.startswith(self.roots):
            return False
        if topic.startswith("$"):
            return self._declared.fullmatch(topic) is None
        return self.publishes(topic)

    def publishes(self, topic: str) -> bool:
        """Return whether AutoForge publishes on this topic; a wide filter receives it back."""
        return self._regex.fullmatch(topic) is not None


def _filter_regex(topic_filter: str) -> str:
    return TopicPattern.of(topic_filter).regex()


class DeviceTopics(NamedTuple):
    """The topics of every device, other than those of its readings."""

    control: TopicPattern
    """The topic of its commands."""
    ack: TopicPattern
    """The topic on which it acknowledges commands."""
    status: TopicPattern
    """The topic of its presence."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the topics of the settings."""
        return cls(*(_of_setting(settings, f"{name}_topic") for name in cls._fields))

    def by_setting(self) -> dict[str, TopicPattern]:
        """Return the topics by the names of their settings."""
        return {f"{name.upper()}_TOPIC": topic for name, topic in self._asdict().items()}


def _of_setting(settings: Settings, name: str) -> TopicPattern:
    variable = name.upper() if name in settings.model_fields_set else ""
    return TopicPattern.of(getattr(settings, name), variable)
