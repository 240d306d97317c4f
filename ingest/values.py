"""Values: convert the value of a field to the number or text that is stored; pure."""

import re
from typing import Any, assert_never

import msgspec

from streams.stream import Metric, Value
from utils.exact_numbers import EXACT, is_exact, is_other_than_zero
from utils.identity import text_fault
from utils.text import printable

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Texts that devices send, in any case, if they have no value.
_NO_NUMBER = {"", "null", "none", "nan", "+nan", "-nan", "unavailable", "unknown", "undefined"}


class PayloadError(Exception):
    """An error in a payload: a reason code, and a text that names the field and shows the value."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Spelled(float):
    """A number with a fraction or an exponent, together with its original text."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> "Spelled":
        number = super().__new__(cls, text)
        number.text = text
        return number


def shown(value: object) -> str:
    """Format a value as JSON for a message, shortened to 60 characters."""
    return shortened(msgspec.json.encode(value, enc_hook=_as_spelled).decode())


def shortened(text: str) -> str:
    """Shorten a text for a message to 60 characters."""
    text = printable(text)
    return text if len(text) <= 60 else f"{text[:60]}…"


def is_no_value(metric: Metric, value: object) -> bool:
    """Return whether a field stands for no value, as NaN and null do."""
    match metric.type:
        case "number" if isinstance(value, str):
            return value.strip().casefold() in _NO_NUMBER
        case "number" | "text":
            return value is None
        case _:
            assert_never(metric.type)


def stored(metric: Metric, field: str, value: object) -> Value:
    """Return the number or text to store for a value. Raises PayloadError."""
    match metric.type:
        case "number" if isinstance(value, int | float) and _is_plain(value):
            return float(value)
        case "number":
            return number(field, value, "null or NaN" if value is None else shown(value))
        case "text":
            return text(field, value)
        case _:
            assert_never(metric.type)


def bare(metric: Metric, content: str) -> Value:
    """Return the number or text to store for a payload that is no JSON. Raises PayloadError."""
    match metric.type:
        case "number":
            return number("value", content, shortened(content.strip()))
        case "text":
            # Line ends come from the device's print function; no text may have them.
            return text("value", content.strip("\r\n"))
        case _:
            assert_never(metric.type)


def _is_plain(value: float) -> bool:
    return not isinstance(value, bool) and value != 0 and -EXACT < value < EXACT


def text(field: str, value: object) -> str:
    """Return a text unchanged, if it is valid. Raises PayloadError."""
    if not isinstance(value, str):
        raise PayloadError("not_text", f"{field}: not a text: {shown(value)}")
    if fault := text_fault(value):
        raise PayloadError("invalid_text", f"{field}: {fault}")
    return value


def number(field: str, value: object, spelling: str) -> float:
    """Return a number, bare or in quotes, if a float represents it exactly.

    Raises PayloadError with `spelling` in its text.
    """
    spelled = _spelled(value)
    if not NUMBER.fullmatch(spelled):
        raise PayloadError("not_a_number", f"{field}: not a number: {spelling}")
    result = float(spelled)
    if abs(result) == float("inf"):
        raise PayloadError("number_out_of_range", f"{field}: too large to be stored: {spelling}")
    if abs(result) >= EXACT and not is_exact(spelled, result):
        wrong = f"{spelling} would be stored as {result!r}, which is another number"
        raise PayloadError("number_not_exact", f"{field}: {wrong}")
    if not result and is_other_than_zero(spelled):
        raise PayloadError("number_out_of_range", f"{field}: too small to be stored: {spelling}")
    # Only some databases keep the sign of -0.0.
    return result or 0.0


def _spelled(value: object) -> str:
    if isinstance(value, Spelled):
        return value.text
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    return str(value).strip()


def _as_spelled(value: Any) -> msgspec.Raw:
    return msgspec.Raw(value.text.encode())
