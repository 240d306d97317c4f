"""Text and nested values from outside: what is in them, and text made fit for a line of the log."""

import codecs
import re
import unicodedata

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
"""Zero width non-joiner and joiner: Persian and Hindi are written with them, and most composed emoji."""


_SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Signs that enclose or precede numbers, such as the Arabic one for a year: of the category Cf, but seen."""
_BLACK_FLAG = "\U0001f3f4"
# The flag of a part of a country, as of England: its code in characters that are not seen elsewhere.
_FLAG = re.compile(f"{_BLACK_FLAG}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f")


def printable(text: str) -> str:
    """The text with everything that does not print, line breaks too, written as an escape."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def invisible(text: str) -> str | None:
    """The first character of a text that nobody would see, such as a control character, or None.

    A joiner between two visible characters is seen by what it does to them.
    """
    # Almost every text has none, and is told by one call that is much faster than the loop.
    if text.isprintable():
        return None
    text = _FLAG.sub(_BLACK_FLAG, text)
    for index, character in enumerate(text):
        if _is_invisible(character) and not _joins(text, index):
            return character
    return None


def _joins(text: str, index: int) -> bool:
    """Whether a character is a joiner between two visible ones."""
    if text[index] not in _JOINERS or not 0 < index < len(text) - 1:
        return False
    return _is_visible(text[index - 1]) and _is_visible(text[index + 1])


def _is_visible(character: str) -> bool:
    return not character.isspace() and not _is_invisible(character)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE and character not in _SEEN


def decoded(raw: bytes) -> str:
    """The text of a file in UTF-8, without the byte-order mark that some editors put first. Raises ValueError."""
    if raw.startswith(_WIDE_MARKS) or b"\0" in raw[:4]:
        raise ValueError("is UTF-16 or UTF-32; it must be UTF-8")
    text = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line}: byte 0x{text[error.start]:02x} is not UTF-8; it must be UTF-8"
        ) from error


def nested_deeper(value: object, depth: int) -> bool:
    """Whether a JSON value has lists and objects within each other more than so many deep."""
    level = [value]
    for _ in range(depth + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return False
        level = [
            inner
            for item in holders
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return True
