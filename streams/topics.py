"""Topic patterns such as `sensors/{device_id}/data`: their filters, and the parts of a topic."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Self

from utils.topic_filters import levels_cover, levels_overlap

DEVICE, DEVICE_LEVELS = "{device_id}", "{device_id...}"
METRIC = "{metric}"
PLACEHOLDER = re.compile(r"\{(?P<name>[a-z][a-z0-9_]*)(?P<many>\.\.\.)?\}")
_DEVICE_NAME, _METRIC_NAME = "device_id", "metric"
# The end of a topic, in the order of patterns: of two that are equal otherwise, the longer wins.
_END = 4


class LevelKind(IntEnum):
    """What a level of a pattern stands for; the first kind takes precedence."""

    LITERAL = 0
    METRIC = 1
    ONE = 2
    """`{name}` or `+`: any one level."""
    MANY = 3
    """`{name...}`, one or more levels; or `#`, the rest."""


NO_NAMES: Mapping[str, str] = MappingProxyType({})


class TopicParts(NamedTuple):
    """What a topic says."""

    device_id: str | None = None
    level: str | None = None
    """The value of `{metric}`, with `/` if it has several levels."""
    names: Mapping[str, str] = NO_NAMES
    """The values of the other placeholders."""


@dataclass(frozen=True)
class TopicPattern:
    """A topic with placeholders: `{device_id}`, `{metric}`, other names, `+`, `{name...}`, `#`."""

    levels: tuple[str, ...]
    metric_levels: Mapping[str, tuple[str, ...]] = field(hash=False)
    """The names of the metrics by the value of `{metric}`."""
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
        return _DEVICE_NAME in self.names

    @property
    def has_metric(self) -> bool:
        """Whether every metric has a topic of its own."""
        return METRIC in self.levels

    @cached_property
    def names(self) -> list[str]:
        """The names of the placeholders, in order."""
        return [one["name"] for one in self._placeholders]

    @property
    def is_wide(self) -> bool:
        """Whether the topic has any number of levels, or none that is a plain text."""
        kinds = [kind_of(level) for level in self.levels]
        return LevelKind.MANY in kinds or LevelKind.LITERAL not in kinds

    @property
    def order(self) -> tuple[int, ...]:
        """The sort key of patterns: a topic belongs to the first that matches it."""
        return (*map(kind_of, self.levels), _END)

    def subscriptions(self) -> list[str]:
        """Return the filters of the declared topics: one, or one for each value of `{metric}`."""
        return list(dict.fromkeys(map(_filter, self.variants())))

    def filters(self, device: str = "+") -> list[str]:
        """Return the filters to subscribe to, with metrics that are not declared where possible.

        A filter for metrics of several levels would match nearly everything of the device.
        `device` stands for a level `{device_id}`.
        """
        if any("/" in level for level in self.metric_levels):
            metrics = [level.split("/") for level in self.metric_levels]
        else:
            metrics = [["+"]]
        filters = (self._filter_of(device, metric) for metric in metrics)
        return list(dict.fromkeys(filters))

    def _filter_of(self, device: str, metric: Sequence[str]) -> str:
        wild: list[str] = []
        for level in self.levels:
            if level == DEVICE:
                wild.append(device)
            elif level == DEVICE_LEVELS:
                wild += [device, "#"]
            else:
                wild += _wildcards([level], metric)
        return _filter(wild)

    def variants(self) -> list[list[str]]:
        """Return the levels with wildcards for placeholders, once for each value of `{metric}`.

        `#` may stand before other levels; see `utils.topic_filters`.
        """
        metrics = [level.split("/") for level in self.metric_levels] if self.has_metric else [[]]
        return [_wildcards(self.levels, metric) for metric in metrics]

    def fill(
        self, device_id: str, metric_level: str = "", names: Mapping[str, str] | None = None
    ) -> str:
        """Return a topic of one device, and of one value of `{metric}` if the topic has it.

        Other placeholders get their value in `names`, or else their own name.
        """
        known = {_METRIC_NAME: metric_level} | dict(names or {})
        filled: list[str] = []
        for level in self.levels:
            found = PLACEHOLDER.fullmatch(level)
            if found is None:
                filled += [] if level == "#" else ["any" if level == "+" else level]
            elif found["name"] == _DEVICE_NAME:
                filled.append(_divided(device_id) if found["many"] else device_id)
            else:
                filled.append(known.get(found["name"], found["name"]))
        return "/".join(filled)

    def regex(self, suffix: str = "", *, any_metric: bool = False) -> str:
        """Return a regular expression with a group for each placeholder, `suffix` in its name.

        With `any_metric`, the metric need not be declared.
        """
        metric = "|".join(map(re.escape, self.metric_levels))
        if any_metric:
            several = any("/" in level for level in self.metric_levels)
            metric = _MANY if several else "[^/]*"
        parts = [_regex(level, metric, suffix) for level in self.levels]
        # The broker matches no `$` with a wildcard.
        guard = "" if kind_of(self.levels[0]) is LevelKind.LITERAL else r"(?!\$)"
        if self.levels[-1] != "#":
            return guard + "/".join(parts)
        return guard + ("/".join(parts[:-1]) + "(?:/.*)?" if parts[:-1] else ".*")

    def parts(self, groups: Mapping[str, str | None], suffix: str = "") -> TopicParts:
        """Return what a topic says, by the groups of `regex`."""
        values = {name: groups[name + suffix] or "" for name in self.names}
        for name in self._many:
            values[name] = _joined(values[name])
        device_id, metric = values.pop(_DEVICE_NAME, None), values.pop(_METRIC_NAME, None)
        # One object for all topics without others: thousands of them are remembered.
        return TopicParts(device_id, metric, values or NO_NAMES)

    def conflicts(self, other: "TopicPattern", *, metrics_first: bool = True) -> bool:
        """Return whether a topic could belong to either pattern, or one pattern hides the other.

        Without `metrics_first`, `{metric}` does not precede other placeholders.
        """
        if not self.overlaps(other):
            return False
        orders = [pattern.order for pattern in (self, other)]
        if not metrics_first:
            orders = [_without_metrics(order) for order in orders]
        first, second = (self, other) if orders[0] < orders[1] else (other, self)
        return orders[0] == orders[1] or first.hides(second)

    def hides(self, other: "TopicPattern") -> bool:
        """Return whether this pattern matches all topics of the other, or of one of its metrics."""
        mine = self.variants()
        return any(any(levels_cover(levels, its) for levels in mine) for its in other.variants())

    def overlaps(self, other: "TopicPattern") -> bool:
        """Return whether some topic could match both patterns."""
        theirs = other.variants()
        return any(levels_overlap(levels, its) for levels in self.variants() for its in theirs)

    @cached_property
    def _many(self) -> list[str]:
        return [one["name"] for one in self._placeholders if one["many"]]

    @cached_property
    def _placeholders(self) -> list[re.Match[str]]:
        found = map(PLACEHOLDER.fullmatch, self.levels)
        return [one for one in found if one is not None]


_MANY = "[^/]+(?:/[^/]+)*"


def name_of(placeholder: str) -> str:
    """Return the name in a placeholder, such as room of `{room...}`; any other text as it is."""
    found = PLACEHOLDER.fullmatch(placeholder)
    return placeholder if found is None else found["name"]


def kind_of(level: str) -> LevelKind:
    """Return what a level of a pattern stands for."""
    found = PLACEHOLDER.fullmatch(level)
    if level == METRIC:
        return LevelKind.METRIC
    if level == "#" or (found is not None and found["many"]):
        return LevelKind.MANY
    return LevelKind.ONE if level == "+" or found is not None else LevelKind.LITERAL


def _wildcards(levels: Sequence[str], metric: Sequence[str]) -> list[str]:
    """Return levels with wildcards for placeholders, and with these levels for `{metric}`."""
    wild: list[str] = []
    for level in levels:
        match kind_of(level):
            case LevelKind.LITERAL:
                wild.append(level)
            case LevelKind.METRIC:
                wild += metric
            case LevelKind.ONE:
                wild.append("+")
            case LevelKind.MANY:
                wild += ["#"] if level == "#" else ["+", "#"]
    return wild


def _without_metrics(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(LevelKind.ONE if kind == LevelKind.METRIC else kind for kind in order)


def _filter(levels: Sequence[str]) -> str:
    end = levels.index("#") + 1 if "#" in levels else len(levels)
    return "/".join(levels[:end])


def _regex(level: str, metric: str, suffix: str) -> str:
    found = PLACEHOLDER.fullmatch(level)
    if found is None:
        return "[^/]*" if level == "+" else re.escape(level)
    values = metric if level == METRIC else _MANY if found["many"] else "[^/]*"
    return f"(?P<{found['name']}{suffix}>{values})"


def _joined(levels: str) -> str:
    """Join levels by dots so that no others give the same text."""
    escaped = re.sub("%(?=(?:25)*2E)", "%25", levels)
    return escaped.replace(".", "%2E").replace("/", ".")


def _divided(joined: str) -> str:
    """Return the levels that `_joined` joined."""
    levels = joined.replace(".", "/").replace("%2E", ".")
    return re.sub("%25(?=(?:25)*(?:2E))", "%", levels)
