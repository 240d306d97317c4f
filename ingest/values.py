"""Values: what a field says to what is stored of it, a number or a text; pure."""

import re
from decimal import Decimal
from typing import Any

import msgspec

from ingest.identity import text_fault
from streams.stream import Metric
from utils.text import printable

EXACT = 2.0**53
"""Up to here a float holds every whole number."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_OTHER_THAN_ZERO = re.compile(r"[-+0.]*[1-9]")
_NO_NUMBER = {"", "null", "none", "nan", "+nan", "-nan", "unavailable", "unknown", "undefined"}
"""What devices write, in any case, where they have measured nothing."""


class PayloadError(Exception):
    """What is wrong with a payload: a reason code, and a sentence that names the field and shows the value."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Spelled(float):
    """A number with a fraction or an exponent, and the text that it was read from."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> "Spelled":
        number = super().__new__(cls, text)
        number.text = text
        return number


def shown(value: object) -> str:
    """A value as JSON for a sentence, shortened to 60 characters."""
    return shortened(msgspec.json.encode(value, enc_hook=_as_spelled).decode())


def shortened(text: str) -> str:
    """A text for a sentence, with at most 60 characters."""
    text = printable(text)
    return text if len(text) <= 60 else f"{text[:60]}…"


def is_no_value(metric: Metric, value: object) -> bool:
    """Whether a field says that there is no value, as NaN and null do."""
    if metric.type == "text" or not isinstance(value, str):
        return value is None
    return value.strip().casefold() in _NO_NUMBER


def stored(metric: Metric, field: str, value: object) -> float | str:
    """What is stored of a value. Raises PayloadError."""
    if metric.type == "text":
        return text(field, value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -EXACT < value < EXACT and value:
        return float(value)
    return number(field, value, "null or NaN" if value is None else shown(value))


def text(field: str, value: object) -> str:
    """A text as it is. Raises PayloadError."""
    if not isinstance(value, str):
        raise PayloadError("not_text", f"{field}: not a text: {shown(value)}")
    if fault := text_fault(value):
        raise PayloadError("invalid_text", f"{field}: {fault}")
    return value


def number(field: str, value: object, spelling: str) -> float:
    """A number that stands bare or in quotes, which is stored as it is or not at all.

    Raises PayloadError showing `spelling`.
    """
    spelled = _spelled(value)
    if not _NUMBER.fullmatch(spelled):
        raise PayloadError("not_a_number", f"{field}: not a number: {spelling}")
    found = float(spelled)
    if abs(found) == float("inf"):
        raise PayloadError("number_out_of_range", f"{field}: too large to be stored: {spelling}")
    if abs(found) >= EXACT and not _is_exact(spelled, found):
        raise PayloadError(
            "number_not_exact", f"{field}: {spelling} would be stored as {found!r}, which is another number"
        )
    if not found and _OTHER_THAN_ZERO.match(spelled):
        raise PayloadError("number_out_of_range", f"{field}: too small to be stored: {spelling}")
    # Some databases keep -0.0, others do not.
    return found or 0.0


def _spelled(value: object) -> str:
    if isinstance(value, Spelled):
        return value.text
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _is_exact(spelled: str, found: float) -> bool:
    exact = Decimal(spelled)
    if "e" not in spelled.lower():
        return exact == Decimal(found)
    # An exponent tells how many digits are meant.
    return exact == Decimal(f"{found:.{len(exact.as_tuple().digits) - 1}e}")


def _as_spelled(value: Any) -> msgspec.Raw:
    return msgspec.Raw(value.text.encode())
