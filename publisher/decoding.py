"""Decode the JSON of a file or request: each entry as a value and as its original text."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from publisher.entries import MAX_DEPTH, Repeated
from utils.exact_numbers import integer, number
from utils.text import decoded

_WHITE = re.compile(r"[ \t\n\r]*")


class Unreadable(Exception):
    """JSON that cannot be read at all; the text is one line that says why, and where."""


class Written(NamedTuple):
    """An entry of a file, as text and value."""

    text: str
    value: Any


def decode_entries(content: bytes) -> Iterator[Written]:
    """Yield the entries of an array, each decoded on demand. Raises Unreadable."""
    with _explained():
        text = decoded(content)
        at = _skip(text, 0)
        if at == len(text):
            raise Unreadable("is empty; write [] for no entries")
        if text[at] != "[":
            _DECODER.raw_decode(text, at)
            raise Unreadable("must be a JSON array of entries, [ … ]")
        at = _skip(text, at + 1)
        more = text[at : at + 1] != "]"
        while more:
            value, end = _DECODER.raw_decode(text, at)
            yield Written(text[at:end], value)
            at = _skip(text, end)
            more = text[at : at + 1] == ","
            at = _skip(text, at + 1) if more else at
        if text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        if (end := _skip(text, at + 1)) < len(text):
            raise json.JSONDecodeError("Extra data", text, end)


def decode_entry(content: bytes) -> Any:
    """Return a single entry. Raises Unreadable."""
    with _explained():
        return _DECODER.decode(decoded(content))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"{position}: not JSON: {error.msg}") from error
    except RecursionError as error:
        message = f"is nested too deeply; an entry's data may be nested {MAX_DEPTH} deep"
        raise Unreadable(message) from error
    except ValueError as error:  # it is not UTF-8
        raise Unreadable(str(error)) from error


def _skip(text: str, at: int) -> int:
    found = _WHITE.match(text, at)
    return at if found is None else found.end()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else Repeated(pairs)


def _constant(name: str) -> float:
    raise Unreadable(f"has {name}, which is not JSON")


# A number that would be altered is an error of its entry only.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=integer, parse_float=number, parse_constant=_constant
)
