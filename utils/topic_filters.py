"""Compare MQTT topic filters.

Filters are compared level by level. Here, `#` may also stand before other levels.
"""

from collections.abc import Iterable, Sequence

Levels = Sequence[str]
"""The levels of a filter: texts, `+` for any one level, `#` for any number of levels."""


def covers(one: str, other: str) -> bool:
    """Return whether a topic filter matches every topic that another one matches."""
    return levels_cover(one.split("/"), other.split("/"))


def overlap(one: str, other: str) -> bool:
    """Return whether some topic matches both filters."""
    return levels_overlap(one.split("/"), other.split("/"))


def levels_cover(one: Levels, other: Levels) -> bool:
    """Return whether the levels of one filter match every topic that those of another match."""
    return not _is_reserved(one, other) and _cover(one, other)


def levels_overlap(one: Levels, other: Levels) -> bool:
    """Return whether some topic matches the levels of both filters."""
    reserved = _is_reserved(one, other) or _is_reserved(other, one)
    return not reserved and _overlap(one, other)


def fewest(filters: Iterable[str]) -> list[str]:
    """Return the filters that no other covers: some brokers deliver once per matching filter."""
    distinct = list(dict.fromkeys(filters))
    return [
        one
        for one in distinct
        if not any(other != one and covers(other, one) for other in distinct)
    ]


def _is_reserved(wild: Levels, other: Levels) -> bool:
    """Return whether a wildcard would have to match `$` at the beginning, which it does not."""
    return wild[0] in ("+", "#") and other[0].startswith("$")


def _cover(one: Levels, other: Levels) -> bool:
    for index, level in enumerate(one):
        if level == "#":
            rest = one[index + 1 :]
            return any(_cover(rest, other[end:]) for end in range(index, len(other) + 1))
        if index == len(other) or other[index] == "#" or level not in ("+", other[index]):
            return False
    return len(one) == len(other)


def _overlap(one: Levels, other: Levels) -> bool:
    for index, (level, its) in enumerate(zip(one, other, strict=False)):
        if level == "#":
            return _rest_overlaps(one[index + 1 :], other[index:])
        if its == "#":
            return _rest_overlaps(other[index + 1 :], one[index:])
        if "+" not in (level, its) and level != its:
            return False
    rest = one[len(other) :] or other[len(one) :]
    return all(level == "#" for level in rest)


def _rest_overlaps(after: Levels, other: Levels) -> bool:
    """Return whether `#` and the levels after it have a topic in common with other levels."""
    if "#" not in other:
        return any(_overlap(after, other[start:]) for start in range(len(other) + 1))
    # Each `#` matches whatever the other filter has before their common end.
    end = other[other.index("#") + 1 :]
    common = min(len(after), len(end))
    return _overlap(after[len(after) - common :], end[len(end) - common :])
