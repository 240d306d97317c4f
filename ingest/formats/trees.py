"""Documents of binary formats: give them the types that decoded JSON has."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ingest.showing import Spelled
from ingest.values import PayloadError
from utils.clock import naive_utc, rfc3339
from utils.identity import MAX_DEPTH
from utils.text import printable

MAX_HOLDERS = 60_000
"""Objects and arrays in a document; a message of 10,000 readings can have six in each."""
_HOLDERS = (dict, list)
Special = Callable[[Any], Any]
"""Returns the meaning of a value that only one format has. Raises NoJson."""


class NoJson(Exception):
    """A part of a document has no counterpart in JSON; the text names it."""

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(f"{place}: {text}" if place else text)
        self._text, self._place = text, place

    def below(self, key: str | int) -> "NoJson":
        """Return the error with the key of the object or array around that part."""
        step = f"[{key}]" if isinstance(key, int) else printable(key[:60])
        dot = "." if self._place and not self._place.startswith("[") else ""
        return NoJson(self._text, f"{step}{dot}{self._place}")


def plain_document(document: Any, special: Special) -> Any:
    """Return a whole document with the types of JSON. Raises NoJson, PayloadError."""
    waiting, count = [document], 0
    while waiting:
        holder = waiting.pop()
        if not isinstance(holder, _HOLDERS):
            break  # the document is a value
        items = holder.values() if isinstance(holder, dict) else holder
        inner = [one for one in items if isinstance(one, _HOLDERS)]
        count += len(inner)
        if count > MAX_HOLDERS:
            text = f"the document has more than {MAX_HOLDERS} objects and arrays"
            raise PayloadError("too_large", text)
        waiting += inner
    return plain(document, special)


def plain(value: Any, special: Special, depth: int = MAX_DEPTH) -> Any:
    """Return a document with the types of JSON. Raises NoJson, PayloadError.

    Bytes become hexadecimal digits and times RFC 3339; NaN is None, and infinity a text, as they
    are in JSON that is not quite JSON.
    """
    if not isinstance(value, dict | list):
        convert = _SCALARS.get(type(value), special)
        return convert(value)
    if depth == 0:
        raise PayloadError("too_deep", f"the document is nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [
            item if type(item) in _AS_IS else _inside(index, item, special, depth)
            for index, item in enumerate(value)
        ]
    inside: dict[str, Any] = {}
    for key, item in value.items():
        name = _key(key)
        if name in inside:
            raise NoJson("the key stands twice").below(name)
        inside[name] = _inside(name, item, special, depth)
    return inside


def _inside(key: str | int, value: Any, special: Special, depth: int) -> Any:
    try:
        return plain(value, special, depth - 1)
    except NoJson as error:
        raise error.below(key) from error


def _text(text: str) -> str:
    if "\0" in text:
        raise PayloadError("invalid_text", "a NUL character (\\u0000) cannot be stored")
    return text


def _number(number: float) -> float | str | None:
    if math.isfinite(number):
        return number
    return None if math.isnan(number) else str(number)


_AS_IS = {type(None), bool, int, Spelled}
_SCALARS: dict[type, Callable[[Any], Any]] = {
    str: _text,
    float: _number,
    bytes: bytes.hex,
    datetime: lambda time: rfc3339(naive_utc(time)),
    **dict.fromkeys(_AS_IS, lambda value: value),
}


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise NoJson(f"a key must be a text or an integer, not {_shown(key)}")


def _shown(key: Any) -> str:
    return printable(repr(key)[:60]) if isinstance(key, bytes | float | bool) else "something else"
