"""Text and nested values from outside: what is in them, and text made fit for a line of the log."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with everything that does not print, line breaks too, written as an escape."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def invisible(text: str) -> str | None:
    """The first character of a text that nobody would see, such as a control character, or None."""
    # Almost every text has none, and is told by one call that is much faster than the loop.
    if text.isprintable():
        return None
    return next((character for character in text if unicodedata.category(character) in _INVISIBLE), None)


def nested_deeper(value: object, depth: int) -> bool:
    """Whether a JSON value has lists and objects within each other more than so many deep."""
    level = [value]
    for _ in range(depth + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return False
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
    return True
