"""JSON as devices write it, with NaN and with numbers such as `+21.5`, `.5`, `5.` and `007`."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from utils.text import printable

T = TypeVar("T")
BOM = b"\xef\xbb\xbf"
MAX_REPAIRED = 2_000_000
"""Bytes; longer texts must be valid JSON, because the search takes a second for some megabytes."""
MAX_WORDS = 30_000
"""Words that are no JSON; a text with more stays as it is, because each takes a microsecond."""
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
# Possessive against hostile input: no backtracking. Longer integers are treated as texts.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_VALUE = rb"(?:-?(?:0|[1-9]\d{0,999}+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)(?![\w.+#()-])"
# JSON, or bytes that are invalid in it, up to the next word that is not JSON, or to the end.
_NEXT = re.compile(
    rb"(?:[\s,:\[\]{}]++|%b|%b|[^\s,:\[\]{}\"\w.+#()-]++)*+"
    rb"(?:(?P<word>[\w.+#()-]++)|\Z)" % (_STRING, _VALUE),
    re.DOTALL,
)
# Not a number, as the libraries of C, JavaScript and Python write it.
_NAN = re.compile(rb"[+-]?(?:nan(?:\(\w*\))?|1\.#(?:qnan|snan|ind))", re.IGNORECASE)
_NUMBER = re.compile(
    rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|ovf|1\.#inf)", re.IGNORECASE
)
_HALF_A_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*+\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])")
_LITERALS = (b"true", b"false", b"null")


class _Word(NamedTuple):
    start: int
    text: bytes

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + len(self.text)


class _Scan(NamedTuple):
    """The words in a text that are not JSON."""

    numbers: Sequence[_Word]
    """The words that have a standard form."""
    stop: _Word | None = None
    """The first word that has none, or that is one too many; what follows is not looked at."""


def standard(text: bytes) -> bytes:
    """Return the text as JSON: NaN becomes null, non-standard numbers are quoted.

    What is invalid otherwise stays invalid.
    """
    return _replaced(text, lambda word: _standard(word) or word)


def decoded(text: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a text, or else its standard form. Raises DecodeError, RecursionError."""
    try:
        return decode(text)
    except msgspec.DecodeError:
        if not _scanned(text).numbers:
            raise
        return decode(standard(text))


def items(text: bytes) -> list[bytes]:
    """Return the elements of an array as written. Raises DecodeError, RecursionError."""
    try:
        return [bytes(raw) for raw in _ARRAY.decode(text)]
    except msgspec.DecodeError:
        masked, end, found = _masked(text), 0, []
        for raw in _ARRAY.decode(masked):
            start = masked.index(raw, end)
            end = start + len(bytes(raw))
            found.append(text[start:end])
        return found


def why(text: bytes) -> str:
    """Explain why a text is not JSON."""
    scan = _scanned(text)
    try:
        msgspec.json.decode(_masked(text))
    except RecursionError:
        return "it is nested too deeply"
    except msgspec.DecodeError as error:
        return _error(text, str(error), scan.stop)
    return _no_value(scan.numbers[0]) if scan.numbers else "something in it is not a value"


def _error(text: bytes, message: str, stop: _Word | None) -> str:
    truncated = "truncated" in message
    if stop and _standard(stop.text):
        return f"more than {MAX_WORDS} numbers in it are not JSON, such as NaN, +5 or 007"
    # msgspec also reports a lone surrogate and an unknown short word as truncated.
    if "surrogate" in message or (truncated and _HALF_A_PAIR.search(text)):
        return "a text has half of a surrogate pair"
    if not truncated:
        return message.removeprefix("JSON is malformed: ")
    if stop and not _is_cut_off(stop, text):
        return _no_value(stop)
    return "it ends too early"


def _no_value(word: _Word) -> str:
    return f"{printable(word.text[:40].decode())[:40]} is not a value (byte {word.start})"


def _masked(text: bytes) -> bytes:
    """Return the text with non-standard words replaced by digits, so that offsets stay the same."""
    return _replaced(text, lambda word: _digits(len(word)))


def _replaced(text: bytes, replace: Callable[[bytes], bytes]) -> bytes:
    parts: list[bytes] = []
    end = 0
    for word in _scanned(text).numbers:
        parts += [text[end : word.start], replace(word.text)]
        end = word.end
    return b"".join([*parts, text[end:]]) if parts else text


@lru_cache(maxsize=1)  # a text is decoded, and then asked why it is wrong
def _scanned(text: bytes) -> _Scan:
    """Return the words that are not JSON; none if the text is too long to be searched."""
    numbers: list[_Word] = []
    if len(text) > MAX_REPAIRED:
        return _Scan(numbers)
    for found in _NEXT.finditer(text):
        if found["word"] is None:
            break
        word = _Word(found.start("word"), found["word"])
        if _standard(word.text) is None or len(numbers) == MAX_WORDS:
            return _Scan(numbers, word)
        numbers.append(word)
    return _Scan(numbers)


def _digits(count: int) -> bytes:
    # A long integer might be out of range, a long fraction is not.
    return b"1." + b"1" * (count - 2) if count > 2 else b"1" * count


def _standard(word: bytes) -> bytes | None:
    """Return the replacement of a non-standard number; None for any other word."""
    if _NAN.fullmatch(word):
        return b"null"
    return b'"%b"' % word if _NUMBER.fullmatch(word) else None


def _is_cut_off(word: _Word, text: bytes) -> bool:
    is_begun = any(literal.startswith(word.text) for literal in _LITERALS)
    return is_begun and not text[word.end :].strip()
