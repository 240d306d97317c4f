"""The words by which devices say that they are online or offline; pure."""

from typing import Any, NamedTuple, Self

import msgspec

from utils.lenient_json import BOM

NO_JSON: Any = object()
"""Stands for the JSON value of a word that is compared as text."""
MAX_COMPARED = 65_536
"""Bytes; a longer payload is no word."""


class PresenceWord(NamedTuple):
    """A word of a declaration, or what a device says.

    Objects and arrays are compared as JSON, anything else as text.
    """

    text: str
    value: Any = NO_JSON

    @classmethod
    def declared(cls, text: str) -> Self:
        """Return the word of a declaration. Raises DecodeError if it begins like JSON and is none.

        Raises RecursionError too.
        """
        text = text.strip()
        is_json = text.startswith(("{", "["))
        return cls(text, msgspec.json.decode(text) if is_json else NO_JSON)

    @classmethod
    def said(cls, payload: bytes) -> Self:
        """Return what a payload says, without the BOM, blanks, and NULs behind it."""
        content = payload[: MAX_COMPARED + 1].removeprefix(BOM).rstrip(b"\0")
        text = content.decode(errors="backslashreplace")
        if len(payload) > MAX_COMPARED:
            return cls(text)
        try:
            return cls.declared(text)
        except (msgspec.DecodeError, RecursionError):
            return cls(text.strip())

    def means(self, other: Self) -> bool:
        """Return whether two words are the same."""
        if self.value is NO_JSON or other.value is NO_JSON:
            return self.text == other.text
        return _is_same(self.value, other.value)


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; for Python, true is equal to 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
