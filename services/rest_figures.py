"""Statistics of the fields that no metric takes."""

from collections.abc import Iterable
from math import isfinite
from typing import Any

from services import serializers


class Figures:
    """Average, minimum and maximum of one field; true counts as 1."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._low: float | None = None
        self._high: float | None = None

    def add(self, value: float) -> None:
        """Add a value."""
        self._count += 1
        self._sum += value
        self._low = value if self._low is None else min(self._low, value)
        self._high = value if self._high is None else max(self._high, value)

    def named(self, name: str) -> dict[str, Any]:
        """Return the figures; an average that is too large for a float is None."""
        average = self._sum / self._count
        shown = average if isfinite(average) else None
        return {f"avg_{name}": shown, f"min_{name}": self._low, f"max_{name}": self._high}


def stats(texts: Iterable[str]) -> dict[str, Any]:
    """Return the figures of every field that has numbers, from the column `rest` of readings."""
    # Computed here, because not every database takes JSON apart without knowing the names.
    by_name: dict[str, Figures] = {}
    for text in texts:
        for name, value in serializers.fields_of(text).items():
            if not isinstance(value, str):
                by_name.setdefault(name, Figures()).add(value)
    figures: dict[str, Any] = {}
    for name in sorted(by_name):
        figures |= by_name[name].named(name)
    return figures
