"""Compare MQTT topic filters."""

from collections.abc import Iterable


def covers(one: str, other: str) -> bool:
    """Return whether a topic filter matches every topic that another one matches."""
    mine, theirs = one.split("/"), other.split("/")
    for index, level in enumerate(mine):
        if level == "#":
            return True
        if index == len(theirs) or theirs[index] == "#" or level not in ("+", theirs[index]):
            return False
    return len(mine) == len(theirs)


def overlap(one: str, other: str) -> bool:
    """Return whether some topic matches both filters."""
    mine, theirs = one.split("/"), other.split("/")
    for level, its in zip(mine, theirs, strict=False):
        if "#" in (level, its):
            return True
        if "+" not in (level, its) and level != its:
            return False
    if len(mine) == len(theirs):
        return True
    longer, shorter = (mine, theirs) if len(mine) > len(theirs) else (theirs, mine)
    return longer[len(shorter)] == "#"


def fewest(filters: Iterable[str]) -> list[str]:
    """Return the filters that no other covers: some brokers deliver once per matching filter."""
    distinct = list(dict.fromkeys(filters))
    return [
        one
        for one in distinct
        if not any(other != one and covers(other, one) for other in distinct)
    ]
