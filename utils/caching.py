"""Answers that are kept, in a memory that nobody outside can fill: bounded in number, and each in size."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
MAX_KEY = 150
"""Characters of a text that is kept, each of up to four bytes; a device id has at most 128."""


def remembering(function: Callable[[str], T], most: int) -> Callable[[str], T]:
    """The same function, which keeps its newest answers to so many texts; to a long text it always works anew."""
    kept = lru_cache(maxsize=most)(function)

    def ask(text: str) -> T:
        return kept(text) if len(text) <= MAX_KEY else function(text)

    return ask
