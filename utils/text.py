"""Check text and nested values from outside, and escape text for log lines."""

import codecs
import re
import unicodedata

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 16, with what is reserved for
# it: fillers, joiners, variation selectors and format characters. `unicodedata` does not have it.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Symbols without a mark: the empty cell of Braille, and a musical note without a head.
_BLANK = "\u2800\U0001d159"
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)
)
NONCHARACTER = re.compile(f"[{_NONCHARACTERS}]")
# A font may show characters for private use, and characters that a newer Unicode assigns.
_UNSEEN = re.compile(f"[{_IGNORABLE}{_BLANK}{_NONCHARACTERS}]")
# Zero width non-joiner and joiner, used in Persian, Hindi and most composed emoji; and the cell
# that stands between words in Braille.
_JOINERS = "\u200c\u200d\u2800"
# What chooses between forms of the character before it: emoji, ideographs of names, Mongolian.
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f]")
# Visible characters of category Cf: signs that enclose or precede numbers, as in Arabic.
_SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_BLACK_FLAG = "\U0001f3f4"
# The flag of a part of a country, such as England: its code in otherwise invisible characters.
_FLAG = re.compile(f"{_BLACK_FLAG}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f")


def is_plain(text: str) -> bool:
    """Return whether nothing in a text is unprintable; fast for almost every text."""
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def printable(text: str) -> str:
    """Return the text with everything unprintable, including line breaks, escaped."""
    if is_plain(text):
        return text
    return "".join(c if _is_printable(c) else f"\\u{ord(c):04x}" for c in text)


def _is_printable(character: str) -> bool:
    if character.isascii() or _SELECTORS.match(character):
        return character.isprintable()
    return character.isprintable() and _UNSEEN.match(character) is None


def invisible(text: str) -> str | None:
    """Return the first invisible character of a text, such as a control character, or None.

    A joiner between two visible characters counts as visible, because it changes how they look,
    and so does a variation selector behind one.
    """
    if is_plain(text):
        return None
    text = _FLAG.sub(_BLACK_FLAG, text)
    for index, character in enumerate(text):
        if _is_invisible(character) and not (_joins(text, index) or _selects(text, index)):
            return character
    return None


def invisible_code(text: str) -> str:
    """Return the code of the first invisible character, such as U+200B, or an empty text."""
    character = invisible(text)
    return "" if character is None else f"U+{ord(character):04X}"


def _joins(text: str, index: int) -> bool:
    """Return whether a character is a joiner between two visible ones."""
    if text[index] not in _JOINERS or not 0 < index < len(text) - 1:
        return False
    before = _is_visible(text[index - 1]) or _selects(text, index - 1)
    return before and _is_visible(text[index + 1])


def _selects(text: str, index: int) -> bool:
    """Return whether a character is a variation selector behind a visible one."""
    is_selector = _SELECTORS.match(text, index) is not None
    return is_selector and index > 0 and _is_visible(text[index - 1])


def _is_visible(character: str) -> bool:
    return not character.isspace() and not _is_invisible(character)


def _is_invisible(character: str) -> bool:
    if _UNSEEN.match(character):
        return True
    return unicodedata.category(character) in _INVISIBLE and character not in _SEEN


def decoded(raw: bytes) -> str:
    """Decode a UTF-8 file, without the byte order mark of some editors. Raises ValueError."""
    if raw.startswith(_WIDE_MARKS) or b"\0" in raw[:4]:
        raise ValueError("is UTF-16 or UTF-32; it must be UTF-8")
    text = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{text[error.start]:02x}"
        raise ValueError(f"line {line}: {byte} is not UTF-8; it must be UTF-8") from error


def nested_deeper(value: object, depth: int) -> bool:
    """Return whether lists and objects in a JSON value are nested more than `depth` levels deep."""
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
