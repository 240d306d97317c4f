"""A cache whose size outside input cannot increase: bounded in number and in size of keys."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
MAX_KEY = 150
"""Characters of a cached key, each of up to four bytes; a device id has at most 128."""


def remembering(function: Callable[[str], T], most: int) -> Callable[[str], T]:
    """Return the function with a cache of its newest results; long texts are not cached."""
    kept = lru_cache(maxsize=most)(function)

    def ask(text: str) -> T:
        return kept(text) if len(text) <= MAX_KEY else function(text)

    return ask
