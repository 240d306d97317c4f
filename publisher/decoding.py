"""JSON from outside, a file's or a request's: where it cannot be read, and entries in which what cannot is marked."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from publisher.entries import MAX_DEPTH, Unusable
from utils.text import printable

T = TypeVar("T")
_BOM = b"\xef\xbb\xbf"
_NEWLINE = b"\n"
_PADDING = b" " * 8
"""Behind an escape, so that it is judged where it stands and not taken for the end of the text."""
_PLACE = re.compile(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)")
_KINDS = {"object": "one object", "str": "text", "int": "a number", "float": "a number", "bool": "true or false"}
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


class Unreadable(Exception):
    """What cannot be read at all; the text is one line that says why, and where."""


def decode_file(content: bytes) -> Iterator[object]:
    """The entries of an array, each decoded when it is asked for. Raises Unreadable."""
    return map(_value, raw_entries(content))


def raw_entries(content: bytes) -> list[msgspec.Raw]:
    """The entries of an array as they were written. Raises Unreadable."""
    text = _text(content)
    if not text.strip():
        raise Unreadable("is empty; write [] for no entries")
    try:
        return _split(text, list[msgspec.Raw], MAX_DEPTH + 2)
    except msgspec.ValidationError as error:
        kind = str(error).rpartition("got ")[2].strip("`")
        raise Unreadable(f"must be a JSON array of entries, [ … ], not {_KINDS.get(kind, kind)}") from error


def decode_entry(content: bytes) -> object:
    """A single entry, in which the same is marked as in one of a file. Raises Unreadable."""
    return _value(_split(_text(content), msgspec.Raw, MAX_DEPTH + 1))


def _text(content: bytes) -> bytes:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise Unreadable("is UTF-16 or UTF-32; it must be UTF-8")
    text = content.removeprefix(_BOM)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        place = _place(text, error.start)
        raise Unreadable(f"{place}: byte 0x{text[error.start]:02x} is not UTF-8; it must be UTF-8") from error
    return text


def _split(text: bytes, kind: type[T], depth: int) -> T:
    """Entries as they stand in a text, which needs so many brackets within each other at most."""
    try:
        return msgspec.json.decode(text + _PADDING, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise Unreadable(_sentence(text, error)) from error
    except RecursionError as error:
        place = _place(text, _deeper(text, depth))
        message = f"{place}: nested too deeply; an entry's data may be nested {MAX_DEPTH} deep"
        raise Unreadable(message) from error


def _sentence(text: bytes, error: msgspec.DecodeError) -> str:
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return f"{_place(text, len(text))}: not JSON: it ends too early"
    what, byte = found[1], int(found[2])
    # Of these it tells the byte after the first one.
    byte -= what == "trailing characters"
    return f"{_place(text, byte)}: not JSON: {what}"


def _place(text: bytes, byte: int) -> str:
    before = text[:byte]
    # The byte may be within a character.
    column = len(before[before.rfind(_NEWLINE) + 1 :].decode(errors="ignore")) + 1
    return f"line {before.count(_NEWLINE) + 1}, column {column}"


def _deeper(text: bytes, depth: int) -> int:
    """Where the first bracket stands that has so many around it."""
    for token in _TOKENS.finditer(text):
        depth -= _STEPS.get(token[0], 0)
        if depth < 0:
            return token.start()
    return len(text)


def _value(raw: msgspec.Raw) -> object:
    try:
        entry: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _by_field(raw)
    return _by_field(raw) if any(_repeated(raw)) else entry


def _by_field(raw: msgspec.Raw) -> object:
    """An entry in which what cannot be used is marked, for the rest of it is judged all the same."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return _unusable(raw)
    twice = _repeated(raw)[-1]
    return {
        name: _unusable(value, "must stand only once in an entry") if name in twice else _field(value)
        for name, value in fields.items()
    }


def _field(raw: msgspec.Raw) -> object:
    if names := sorted(set().union(*_repeated(raw))):
        return _unusable(raw, f'must not have the key "{printable(names[0][:60])}" twice in one object')
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _unusable(raw)


def _unusable(raw: msgspec.Raw, allowed: str | None = None) -> Unusable:
    return Unusable(" ".join(bytes(raw).decode().split()), allowed)


def _repeated(raw: msgspec.Raw) -> list[set[str]]:
    """The keys that stand more than once in each of the objects of a JSON value, the outermost last.

    Decoders take the last one, but nothing says which one was meant.
    """
    objects: list[set[str]] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        few = len(set(names)) < len(names)
        objects.append({name for name, times in Counter(names).items() if times > 1} if few else set())

    try:
        # Only the keys matter, and int() takes no more than 4,300 digits.
        json.loads(bytes(raw), object_pairs_hook=note, parse_int=float)
    except RecursionError:
        return [set()]
    return objects
