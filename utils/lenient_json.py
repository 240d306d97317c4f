"""JSON as devices write it, with NaN and with numbers such as `+21.5`, `.5`, `5.` and `007`."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from utils.text import printable

T = TypeVar("T")
BOM = b"\xef\xbb\xbf"
MAX_REPAIRED = 2_000_000
"""Bytes; longer texts must be valid JSON, because the search takes a second for some megabytes."""
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
# Possessive against hostile input: no backtracking. Longer integers are treated as texts.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_VALUE = rb"(?:-?(?:0|[1-9]\d{0,999}+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)(?![\w.+#()-])"
# A piece that is JSON, a word that is not, or bytes that are invalid in JSON.
_PIECE = re.compile(
    rb"(?:[\s,:\[\]{}]++|%b|%b)++|(?P<word>[\w.+#()-]++)|[^\s,:\[\]{}\"\w.+#()-]++"
    % (_STRING, _VALUE),
    re.DOTALL,
)
# Not a number, as the libraries of C, JavaScript and Python write it.
_NAN = re.compile(rb"[+-]?(?:nan(?:\(\w*\))?|1\.#(?:qnan|snan|ind))", re.IGNORECASE)
_NUMBER = re.compile(
    rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|ovf|1\.#inf)", re.IGNORECASE
)
_HALF_A_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*+\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])")
_LITERALS = (b"true", b"false", b"null")


def standard(text: bytes) -> bytes:
    """Return the text as JSON: NaN becomes null, non-standard numbers are quoted.

    What is invalid otherwise stays invalid.
    """
    if len(text) > MAX_REPAIRED:
        return text
    return _PIECE.sub(lambda found: _standard(found["word"]) or found[0], text)


def decoded(text: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a text, or else its standard form. Raises DecodeError, RecursionError."""
    try:
        return decode(text)
    except msgspec.DecodeError:
        other = standard(text)
        if other == text:
            raise
        return decode(other)


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
    try:
        msgspec.json.decode(_masked(text))
    except RecursionError:
        return "it is nested too deeply"
    except msgspec.DecodeError as error:
        return _error(text, str(error))
    words = [found for found in _PIECE.finditer(text) if _standard(found["word"])]
    return _no_value(words[0]) if words else "something in it is not a value"


def _error(text: bytes, message: str) -> str:
    truncated = "truncated" in message
    # msgspec also reports a lone surrogate and an unknown short word as truncated.
    if "surrogate" in message or (truncated and _HALF_A_PAIR.search(text)):
        return "a text has half of a surrogate pair"
    if not truncated:
        return message.removeprefix("JSON is malformed: ")
    for found in _PIECE.finditer(text):
        word = found["word"]
        if word and not _standard(word) and not _is_cut_off(word, text[found.end() :]):
            return _no_value(found)
    return "it ends too early"


def _no_value(word: re.Match[bytes]) -> str:
    return f"{printable(word[0].decode())[:40]} is not a value (byte {word.start()})"


def _masked(text: bytes) -> bytes:
    """Return the text with non-standard words replaced by digits, so that offsets stay the same."""
    if len(text) > MAX_REPAIRED:
        return text
    return _PIECE.sub(
        lambda found: _digits(len(found[0])) if _standard(found["word"]) else found[0], text
    )


def _digits(count: int) -> bytes:
    # A long integer might be out of range, a long fraction is not.
    return b"1." + b"1" * (count - 2) if count > 2 else b"1" * count


def _standard(word: bytes | None) -> bytes | None:
    """Return the replacement of a non-standard number; None for any other word."""
    if word is None:
        return None
    if _NAN.fullmatch(word):
        return b"null"
    return b'"%b"' % word if _NUMBER.fullmatch(word) else None


def _is_cut_off(word: bytes, rest: bytes) -> bool:
    return not rest.strip() and any(literal.startswith(word) for literal in _LITERALS)
