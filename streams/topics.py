"""Topic patterns such as `sensors/{device_id}/data`: their filters, and the parts of a topic."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from config import Settings
from utils.topic_filters import covers, fewest, overlap

DEVICE = "{device_id}"
METRIC = "{metric}"


@dataclass(frozen=True)
class TopicPattern:
    """A topic whose levels may be `{device_id}` or `{metric}`."""

    levels: tuple[str, ...]
    metric_levels: Mapping[str, str] = field(hash=False)
    """The metrics' names by the value of the level `{metric}`."""
    setting: str = field(default="", compare=False)
    """The setting that the topic comes from, or an empty text."""

    @classmethod
    def of(cls, text: str, setting: str = "") -> Self:
        """Return the pattern of a topic without metrics of its own."""
        return cls(tuple(text.split("/")), {}, setting)

    def __str__(self) -> str:
        return "/".join(self.levels)

    @property
    def has_device(self) -> bool:
        """Whether the topic contains the device id."""
        return DEVICE in self.levels

    @property
    def has_metric(self) -> bool:
        """Whether every metric has a topic of its own."""
        return METRIC in self.levels

    def subscriptions(self) -> list[str]:
        """Return the filters to subscribe to: one, or one per metric."""
        names = list(self.metric_levels) if self.has_metric else [""]
        return [self.fill("+", name) for name in names]

    def wide(self) -> str:
        """Return one filter for the whole topic, which includes undeclared metrics."""
        return self.fill("+", "+")

    def fill(self, device_id: str, metric_level: str = "") -> str:
        """Return the topic of one device, and of one metric's level if the topic has it."""
        values = {DEVICE: device_id, METRIC: metric_level}
        return "/".join(values.get(level, level) for level in self.levels)

    def regex(self) -> str:
        """Return a regular expression with the groups `device` and `metric`, if in the topic."""
        choices = "|".join(map(re.escape, self.metric_levels))
        groups = {DEVICE: r"(?P<device>[^/]*)", METRIC: f"(?P<metric>{choices})"}
        return "/".join(groups.get(level, re.escape(level)) for level in self.levels)

    @property
    def order(self) -> tuple[bool, ...]:
        """The sort key of patterns: a topic belongs to the first match, so literal levels win."""
        return tuple(level in (DEVICE, METRIC) for level in self.levels)

    def conflicts(self, other: "TopicPattern") -> bool:
        """Return whether a topic could belong to either pattern, or one pattern hides the other."""
        if not self.overlaps(other):
            return False
        first, second = sorted((self, other), key=lambda pattern: pattern.order)
        return first.order == second.order or first.hides(second)

    def hides(self, other: "TopicPattern") -> bool:
        """Return whether this pattern matches all topics of the other, or of one of its metrics."""
        by_metric = other.choices_of_metrics()
        return any(all(map(_covers, self.choices(), levels)) for levels in by_metric)

    def whole_regex(self) -> str:
        """Return a regular expression for any device and any metric, declared or not."""
        values = {DEVICE: "[^/]*", METRIC: "[^/]*"}
        return "/".join(values.get(level, re.escape(level)) for level in self.levels)

    def overlaps(self, other: "TopicPattern") -> bool:
        """Return whether some topic could match both patterns."""
        return len(self.levels) == len(other.levels) and all(
            mine is None or theirs is None or mine & theirs
            for mine, theirs in zip(self.choices(), other.choices(), strict=True)
        )

    def choices_of_metrics(self) -> list[list[set[str] | None]]:
        """Return `choices` for each metric alone; once if metrics have no topics of their own."""
        names = list(self.metric_levels) if self.has_metric else [""]
        return [self._choices_with({name}) for name in names]

    def choices(self) -> list[set[str] | None]:
        """Return the possible values of each level; None for any value."""
        return self._choices_with(set(self.metric_levels))

    def _choices_with(self, metric_levels: set[str]) -> list[set[str] | None]:
        special = {DEVICE: None, METRIC: metric_levels}
        return [special.get(level, {level}) for level in self.levels]


NOTICES = TopicPattern(("autoforge", DEVICE, "notices"), {})
"""The topics on which the processes of AutoForge tell each other what is new."""


class OwnTopics:
    """The topics on which AutoForge publishes; what it hears there has no readings."""

    def __init__(self, published: Sequence[TopicPattern], *, hears_all: bool) -> None:
        self._regex = re.compile("|".join(topic.whole_regex() for topic in published), re.DOTALL)
        self.roots = ("",) if hears_all else ("$", "autoforge/")
        """Prefixes of the topics in `self`; checking these first halves the time."""

    def __contains__(self, topic: str) -> bool:
        """Return whether AutoForge or the broker publishes on this topic."""
        if not topic.startswith(self.roots):
            return False
        return topic.startswith("$") or self.publishes(topic)

    def publishes(self, topic: str) -> bool:
        """Return whether AutoForge publishes on this topic; a wide filter receives it back."""
        return self._regex.fullmatch(topic) is not None


def _covers(choices: set[str] | None, other: set[str] | None) -> bool:
    return choices is None or (other is not None and other <= choices)


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


def filters_for(patterns: Sequence[TopicPattern], catch_all: str = "") -> list[str]:
    """Return the filters for these topics, undeclared metrics included, and a catch-all filter.

    A topic may match two of them. Raises ValueError if the catch-all filter covers a part of a
    topic pattern.
    """
    extra = [catch_all] if catch_all else []
    filters = fewest([*(pattern.wide() for pattern in patterns), *extra])
    for pattern in patterns if catch_all in filters else ():
        overlapping = [one for one in pattern.subscriptions() if overlap(one, catch_all)]
        if not all(covers(catch_all, one) for one in overlapping):
            whole = pattern.wide()
            raise ValueError(
                f"expected a filter that covers all of {whole} or none of it, such as #"
            )
    return filters
