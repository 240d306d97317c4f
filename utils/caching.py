"""Answers that are kept, in a memory that nobody outside can fill: bounded in number, and each in size."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
MAX_KEY_BYTES = 600
"""Of a text in memory: as UTF-32 a device id of 128 characters has as many."""


def remembering(function: Callable[[str], T], most: int) -> Callable[[str], T]:
    """The same function, which keeps its newest answers to so many texts; to a long text it always works anew."""
    kept = lru_cache(maxsize=most)(function)

    def ask(text: str) -> T:
        return kept(text) if text.__sizeof__() <= MAX_KEY_BYTES else function(text)

    return ask
