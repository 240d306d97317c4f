"""JSON as devices write it: with NaN, and with numbers that JSON does not have, such as `+21.5`, `.5`, `5.`, `007`."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from utils.text import printable

T = TypeVar("T")
BOM = b"\xef\xbb\xbf"
MAX_REPAIRED = 2_000_000
"""Bytes; a longer text must be JSON, because the search takes a second for a few megabytes."""
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
# Possessive, so that a hostile text cannot make the search go back. An integer of more digits is read as a text.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_VALUE = rb"(?:-?(?:0|[1-9]\d{0,999}+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)(?![\w.+#()-])"
_PIECE = re.compile(
    rb"(?:[\s,:\[\]{}]++|%b|%b)++|(?P<word>[\w.+#()-]++)|[^\s,:\[\]{}\"\w.+#()-]++"
    % (_STRING, _VALUE),
    re.DOTALL,
)
"""As much as is JSON; or a word that is not; or bytes that have no place in JSON."""
_NAN = re.compile(rb"[+-]?(?:nan(?:\(\w*\))?|1\.#(?:qnan|snan|ind))", re.IGNORECASE)
"""Not a number, as the libraries of C, JavaScript and Python print it."""
_NUMBER = re.compile(
    rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|ovf|1\.#inf)", re.IGNORECASE
)
_HALF_A_PAIR = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])")
_LITERALS = (b"true", b"false", b"null")


def standard(text: bytes) -> bytes:
    """The same as JSON: null for NaN, other numbers that JSON does not have in quotes. What is broken stays broken."""
    if len(text) > MAX_REPAIRED:
        return text
    return _PIECE.sub(lambda found: _standard(found["word"]) or found[0], text)


def decoded(text: bytes, decode: Callable[[bytes], T]) -> T:
    """What `decode` reads in a text, or else in its standard form. Raises DecodeError, RecursionError."""
    try:
        return decode(text)
    except msgspec.DecodeError:
        other = standard(text)
        if other == text:
            raise
        return decode(other)


def items(text: bytes) -> list[bytes]:
    """The elements of an array, each as it is written. Raises DecodeError, RecursionError."""
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
    """What is wrong with a text that is no JSON, for people."""
    try:
        msgspec.json.decode(_masked(text))
    except RecursionError:
        return "it is nested too deeply"
    except msgspec.DecodeError as error:
        return _fault(text, str(error))
    words = [found for found in _PIECE.finditer(text) if _standard(found["word"])]
    return _no_value(words[0]) if words else "something in it is no value"


def _fault(text: bytes, message: str) -> str:
    if "truncated" not in message:
        return message.removeprefix("JSON is malformed: ")
    # msgspec says so also of half of a surrogate pair, and of a short word that is none of JSON's.
    if _HALF_A_PAIR.search(text):
        return "a text has half of a surrogate pair"
    for found in _PIECE.finditer(text):
        word = found["word"]
        if word and not _standard(word) and not _is_cut_off(word, text[found.end() :]):
            return _no_value(found)
    return "it ends too early"


def _no_value(word: re.Match[bytes]) -> str:
    return f"{printable(word[0].decode())[:40]} is no value (byte {word.start()})"


def _masked(text: bytes) -> bytes:
    """The same with digits in the place of what JSON does not have, so that everything stays where it is."""
    if len(text) > MAX_REPAIRED:
        return text
    return _PIECE.sub(
        lambda found: _digits(len(found[0])) if _standard(found["word"]) else found[0], text
    )


def _digits(count: int) -> bytes:
    # An integer of so many digits might be out of range.
    return b"1." + b"1" * (count - 2) if count > 2 else b"1" * count


def _standard(word: bytes | None) -> bytes | None:
    """What stands for a number that JSON does not have; None for any other word."""
    if word is None:
        return None
    if _NAN.fullmatch(word):
        return b"null"
    return b'"%b"' % word if _NUMBER.fullmatch(word) else None


def _is_cut_off(word: bytes, rest: bytes) -> bool:
    return not rest.strip() and any(literal.startswith(word) for literal in _LITERALS)
