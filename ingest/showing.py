"""Showing: format values of a payload for the texts of errors, at a bounded cost; pure."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec

from utils.text import is_plain, printable

MAX_SHOWN = 60
"""Characters of a value that are shown."""
MAX_SLOW = 20
"""Values that take long to show, in all errors of a message; of others only the type is shown."""
_ELLIPSIS = "…"


class Spelled(float):
    """A number with a fraction or an exponent, together with its original text."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> "Spelled":
        number = super().__new__(cls, text)
        number.text = text
        return number


class Bare(str):
    """A payload that is no JSON."""

    __slots__ = ()


class _Budget(threading.local):
    left: int | None = None
    """How many values may still be shown that take long; None for any number."""

    def allows(self) -> bool:
        """Return whether one more may be shown, and count it."""
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


_budget = _Budget()


@contextmanager
def few_shown() -> Iterator[None]:
    """Limit what is shown of the values of one message; it can have thousands of errors."""
    before = _budget.left
    if before is None:
        _budget.left = MAX_SLOW
    try:
        yield
    finally:
        _budget.left = before


def shown(value: object) -> str:
    """Format a value as JSON for a message, shortened to 60 characters."""
    if type(value) is str:  # the usual case
        return shortened(_ENCODE(value[: MAX_SHOWN + 1]).decode())
    if isinstance(value, Bare):
        return shortened(value.strip())
    if isinstance(value, list | dict):
        if not _budget.allows():
            return f"[{_ELLIPSIS}]" if isinstance(value, list) else f"{{{_ELLIPSIS}}}"
        return shortened(_beginning(value))
    return shortened(_scalar(value))


def shortened(text: str) -> str:
    """Shorten a text for a message to 60 characters."""
    text = text[: MAX_SHOWN + 1]
    if not is_plain(text):
        if not _budget.allows():
            return _ELLIPSIS
        text = printable(text)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}{_ELLIPSIS}"


def _scalar(value: object) -> str:
    return _ENCODE(value[: MAX_SHOWN + 1] if type(value) is str else value).decode()


def _beginning(value: object) -> str:
    """Return the first characters of an array or object; at most those are encoded."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > MAX_SHOWN:
            break
    return text


def _pieces(value: object) -> Iterator[str]:
    """Yield the JSON of a value, at least a character at a time."""
    if isinstance(value, list):
        yield "["
        for index, item in enumerate(islice(value, MAX_SHOWN)):
            yield "," if index else ""
            yield from _pieces(item)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for index, (key, item) in enumerate(islice(value.items(), MAX_SHOWN)):
            yield f"{',' if index else ''}{_scalar(str(key))}:"
            yield from _pieces(item)
        yield "}"
    else:
        yield _scalar(value)


def _as_spelled(value: Any) -> Any:
    return (
        msgspec.Raw(value.text[: MAX_SHOWN + 1].encode())
        if isinstance(value, Spelled)
        else str(value)
    )


_ENCODE = msgspec.json.Encoder(enc_hook=_as_spelled).encode
