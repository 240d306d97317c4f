"""Numbers of JSON: refuse a number that a float would replace by another one."""

import math
import re
import sys
from collections.abc import Iterator
from decimal import Decimal

from utils.text import printable

EXACT = 2.0**53
"""A float represents every integer up to this limit."""
MAX_DIGITS = 1_000
"""Digits of an integer; int() takes quadratic time, and raises ValueError above 4,300 digits."""
MAX_LEVELS = 3
MAX_SHOWN = 60
_OTHER_THAN_ZERO = re.compile(r"[-+0.]*[1-9]")
_INSTEAD = "use a number that a 64-bit float represents, or a text"
# One text for all of them: a hostile document has hundreds of thousands of the shortest, 1e999.
_TOO_LARGE = f"is beyond the largest number, {sys.float_info.max}; {_INSTEAD}"
_TOO_SMALL = f"would become 0.0; {_INSTEAD}"


class Inexact(float):
    """The float nearest to a number that no float represents, which must not replace it."""

    __slots__ = ("fault", "spelling")

    spelling: str
    fault: str
    """What would become of the number, and what to do."""

    def __new__(cls, spelling: str, fault: str) -> "Inexact":
        # Finite, so that a document with it can be encoded and measured.
        nearest = max(-sys.float_info.max, min(float(spelling), sys.float_info.max))
        number = super().__new__(cls, nearest)
        number.spelling = _shortened(spelling)
        number.fault = fault
        return number


def number(spelling: str) -> float:
    """Return a number with a fraction or an exponent; Inexact where it would be altered."""
    result = float(spelling)
    if math.isinf(result):
        return Inexact(spelling, _TOO_LARGE)
    if not result and is_other_than_zero(spelling):
        return Inexact(spelling, _TOO_SMALL)
    if abs(result) >= EXACT and not is_exact(spelling, result):
        other = f"would become {result!r}, which is another number; {_INSTEAD}"
        return Inexact(spelling, other)
    return result


def integer(spelling: str) -> int | float:
    """Return an integer; Inexact where it has too many digits."""
    if len(spelling) <= MAX_DIGITS:
        return int(spelling)
    allowed = f"has {len(spelling)} digits; at most {MAX_DIGITS} are allowed; {_INSTEAD}"
    return Inexact(spelling, allowed)


def faults(document: object, name: str = "") -> Iterator[str]:
    """Yield what is wrong with each number of a document, after its path such as `data.a.0`.

    `name` is what the document itself is called.
    """
    waiting: list[tuple[tuple[str, ...], object]] = [((name,) if name else (), document)]
    while waiting:
        path, value = waiting.pop()
        inside: list[tuple[object, object]] = []
        if isinstance(value, Inexact):
            at = f"{'.'.join(path)}: " if path else ""
            yield f"{at}{value.spelling} {value.fault}"
        elif isinstance(value, dict):
            inside = list(value.items())
        elif isinstance(value, list):
            inside = list(enumerate(value))
        waiting += [
            (_below(path, key), held)
            for key, held in reversed(inside)
            if isinstance(held, Inexact | dict | list)
        ]


def is_other_than_zero(spelling: str) -> bool:
    """Return whether a number that is written so is not zero, whatever its float is."""
    return _OTHER_THAN_ZERO.match(spelling) is not None


def is_exact(spelling: str, result: float) -> bool:
    """Return whether the float nearest to a number that is written so is that number."""
    exact = Decimal(spelling)
    if "e" not in spelling.lower():
        return exact == Decimal(result)
    # With an exponent, only the digits that are written are significant.
    digits = len(exact.as_tuple().digits)
    return exact == Decimal(f"{result:.{digits - 1}e}")


def _below(path: tuple[str, ...], key: object) -> tuple[str, ...]:
    # Without a limit the paths in a deep document would take many times its memory.
    return path if len(path) == MAX_LEVELS else (*path, _shortened(str(key)))


def _shortened(text: str) -> str:
    return printable(text) if len(text) <= MAX_SHOWN else f"{printable(text[:MAX_SHOWN])}…"
