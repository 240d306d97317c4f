"""Topic patterns: `sensors/{device_id}/data` to a subscription, and a topic back to its parts."""

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
    """A topic in which a level may be `{device_id}` or `{metric}`."""

    levels: tuple[str, ...]
    metric_levels: Mapping[str, str] = field(hash=False)
    """For `{metric}`: what stands in that level, to the metric's name."""
    setting: str = field(default="", compare=False)
    """The variable that says it, where the environment or `.env` does."""

    def __str__(self) -> str:
        return "/".join(self.levels)

    @property
    def has_device(self) -> bool:
        """Whether the topic names the device."""
        return DEVICE in self.levels

    @property
    def has_metric(self) -> bool:
        """Whether every metric has a topic of its own."""
        return METRIC in self.levels

    def subscriptions(self) -> list[str]:
        """The filters to subscribe to: one, or one per metric."""
        names = list(self.metric_levels) if self.has_metric else [""]
        return [self.fill("+", name) for name in names]

    def wide(self) -> str:
        """One filter for the whole topic, which lets through metrics that nobody has declared."""
        return self.fill("+", "+")

    def fill(self, device_id: str, metric_level: str = "") -> str:
        """The topic of one device (and one metric's level)."""
        values = {DEVICE: device_id, METRIC: metric_level}
        return "/".join(values.get(level, level) for level in self.levels)

    def regex(self) -> str:
        """A regular expression with the groups `device` and `metric`, where the topic has them."""
        choices = "|".join(map(re.escape, self.metric_levels))
        groups = {DEVICE: r"(?P<device>[^/]*)", METRIC: f"(?P<metric>{choices})"}
        return "/".join(groups.get(level, re.escape(level)) for level in self.levels)

    @property
    def order(self) -> tuple[bool, ...]:
        """Of two patterns that match a topic, it belongs to the one that comes first by this: literal levels win."""
        return tuple(level in (DEVICE, METRIC) for level in self.levels)

    def conflicts(self, other: "TopicPattern") -> bool:
        """Whether some topic could belong to both patterns, or all of a metric's topics belong to the other one."""
        if not self.overlaps(other):
            return False
        first, second = sorted((self, other), key=lambda pattern: pattern.order)
        return first.order == second.order or first.hides(second)

    def hides(self, other: "TopicPattern") -> bool:
        """Whether every topic of the other one, or of one of its metrics, matches this one."""
        return any(all(map(_covers, self.choices(), levels)) for levels in other.choices_of_metrics())

    def whole_regex(self) -> str:
        """The same for any metric, declared or not."""
        return "/".join("[^/]*" if level in (DEVICE, METRIC) else re.escape(level) for level in self.levels)

    def overlaps(self, other: "TopicPattern") -> bool:
        """Whether some topic could match both patterns."""
        return len(self.levels) == len(other.levels) and all(
            mine is None or theirs is None or mine & theirs
            for mine, theirs in zip(self.choices(), other.choices(), strict=True)
        )

    def choices_of_metrics(self) -> list[list[set[str] | None]]:
        """The same as `choices` for each metric alone; once where the metrics have no topics of their own."""
        names = list(self.metric_levels) if self.has_metric else [""]
        return [
            [None if level == DEVICE else {name if level == METRIC else level} for level in self.levels]
            for name in names
        ]

    def choices(self) -> list[set[str] | None]:
        """For each level what may stand there; None for anything."""
        return [
            None if level == DEVICE else set(self.metric_levels) if level == METRIC else {level}
            for level in self.levels
        ]


def _covers(choices: set[str] | None, other: set[str] | None) -> bool:
    return choices is None or (other is not None and other <= choices)


class DeviceTopics(NamedTuple):
    """The topics of every device beside its readings."""

    control: TopicPattern
    """Where it receives commands."""
    ack: TopicPattern
    """Where it acknowledges them."""
    status: TopicPattern
    """Where it says that it is online."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As configured."""
        return cls(*(_of_setting(settings, f"{name}_topic") for name in cls._fields))

    def by_setting(self) -> dict[str, TopicPattern]:
        """By the names of their settings."""
        return {f"{name.upper()}_TOPIC": topic for name, topic in self._asdict().items()}


def _of_setting(settings: Settings, name: str) -> TopicPattern:
    variable = name.upper() if name in settings.model_fields_set else ""
    return TopicPattern(tuple(getattr(settings, name).split("/")), {}, variable)


def filters_for(patterns: Sequence[TopicPattern], catch_all: str = "") -> list[str]:
    """What to subscribe to for these topics, with the undeclared metrics beside the declared, and for another filter.

    Some topic may match two of them. Raises ValueError where the other filter has a part of what is declared.
    """
    extra = [catch_all] if catch_all else []
    filters = fewest([*(pattern.wide() for pattern in patterns), *extra])
    for pattern in patterns if catch_all in filters else ():
        if any(overlap(one, catch_all) and not covers(catch_all, one) for one in pattern.subscriptions()):
            raise ValueError(f"expected a filter that takes in all of {pattern.wide()} or nothing of it, such as #")
    return filters
