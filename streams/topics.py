"""Topic patterns: `sensors/{device_id}/data` to a subscription, and a topic back to its parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from config import Settings

DEVICE = "{device_id}"
METRIC = "{metric}"


@dataclass(frozen=True)
class TopicPattern:
    """A topic in which a level may be `{device_id}` or `{metric}`."""

    levels: tuple[str, ...]
    metric_levels: Mapping[str, str]
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

    def fill(self, device_id: str, metric_level: str = "") -> str:
        """The topic of one device (and one metric's level)."""
        values = {DEVICE: device_id, METRIC: metric_level}
        return "/".join(values.get(level, level) for level in self.levels)

    def regex(self) -> str:
        """A regular expression with the groups `device` and `metric`, where the topic has them."""
        choices = "|".join(map(re.escape, self.metric_levels))
        groups = {DEVICE: r"(?P<device>[^/]*)", METRIC: f"(?P<metric>{choices})"}
        return "/".join(groups.get(level, re.escape(level)) for level in self.levels)

    def overlaps(self, other: "TopicPattern") -> bool:
        """Whether some topic could match both patterns."""
        return len(self.levels) == len(other.levels) and all(
            mine is None or theirs is None or mine & theirs
            for mine, theirs in zip(self.choices(), other.choices(), strict=True)
        )

    def choices(self) -> list[set[str] | None]:
        """For each level what may stand there; None for anything."""
        return [
            None if level == DEVICE else set(self.metric_levels) if level == METRIC else {level}
            for level in self.levels
        ]


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
