"""Values: convert the value of a field to the number or text that is stored; pure."""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, TypeVar, assert_never

from ingest.showing import Bare, Spelled, shown
from streams.metric import MAX_INTEGER, Metric, Value
from utils.exact_numbers import EXACT, is_exact, is_other_than_zero
from utils.identity import text_fault

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
Failure = TypeVar("Failure", bound=Exception)
_BOOLEANS = {
    **dict.fromkeys(("true", "on", "yes"), True),
    **dict.fromkeys(("false", "off", "no"), False),
}
# Texts that devices send, in any case, if they have no value.
_NO_NUMBER = {"", "null", "none", "nan", "+nan", "-nan", "unavailable", "unknown", "undefined"}


class PayloadError(Exception):
    """An error in a payload: a reason code, and a text that names the field and shows the value."""

    def __init__(self, reason: str, text: str, *, names_field: bool = True) -> None:
        super().__init__(text)
        self.reason = reason
        self._names_field = names_field

    def within(self, place: str) -> str:
        """Return the text for a payload with several readings, of which this is the one."""
        if not place:
            return str(self)
        return f"{place}.{self}" if self._names_field else f"{place}: {self}"


def detached(error: Failure) -> Failure:
    """Return an error to keep, without the traceback, whose frames hold all of the message."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error


class ValueFault(NamedTuple):
    """A value of an optional metric that is stored as None although the payload has the field."""

    metric: str
    """The metric's name; empty if a pair does not name it."""
    example: str
    """What the payload has, shortened."""
    reason: str = ""
    """The reason code of the error; empty if the field stands for no value."""
    text: str = ""
    """The error; empty if the field stands for no value."""

    @classmethod
    def of(cls, metric: str, example: str, error: PayloadError) -> "ValueFault":
        """Return the fault of a value that could not be read."""
        # Without the error itself, whose traceback would keep the frames of the parser.
        return cls(metric, example, error.reason, str(error))

    @property
    def is_missing(self) -> bool:
        """Whether there is no value, rather than one that could not be read."""
        return not self.reason

    def within(self, place: str) -> "ValueFault":
        """Return the fault in a payload with several readings, of which this is the one."""
        if not place or not self.metric or self.is_missing:
            return self
        return self._replace(text=f"{place}.{self.text}")


def first_error(faults: Iterable[ValueFault]) -> PayloadError | None:
    """Return the error of the first value that could not be read, or None."""
    return next((PayloadError(one.reason, one.text) for one in faults if one.reason), None)


def errors_of(faults: Iterable[ValueFault]) -> tuple[str, ...]:
    """Return the errors of the values that could not be read."""
    return tuple([one.text for one in faults if one.text])


def is_no_value(metric: Metric, value: object) -> bool:
    """Return whether a field stands for no value, as NaN and null do."""
    match metric.type:
        case "number" | "boolean" | "integer" if isinstance(value, str):
            return value.strip().casefold() in _NO_NUMBER
        case "number" | "text" | "boolean" | "integer":
            return value is None
        case _:
            assert_never(metric.type)


def stored(metric: Metric, field: str, value: object) -> Value:
    """Return the number or text to store for a value. Raises PayloadError."""
    match metric.type:
        case "number" if isinstance(value, int | float) and _is_plain(value):
            return float(value)
        case "number":
            return number(field, value, _shown_or_null(value))
        case "text":
            return text(field, value)
        case "boolean":
            return boolean(field, value)
        case "integer":
            return integer(field, value, _shown_or_null(value))
        case _:
            assert_never(metric.type)


def _is_plain(value: float) -> bool:
    return not isinstance(value, bool) and value != 0 and -EXACT < value < EXACT


def text(field: str, value: object) -> str:
    """Return a text unchanged, if it is valid. Raises PayloadError."""
    if not isinstance(value, str):
        raise PayloadError("not_text", f"{field}: not a text: {shown(value)}")
    if isinstance(value, Bare):
        # Line ends come from the device's print function; no text may have them.
        value = str(value.strip("\r\n"))
    if fault := text_fault(value):
        raise PayloadError("invalid_text", f"{field}: {fault}")
    return value


def boolean(field: str, value: object) -> bool:
    """Return a boolean, in any of the spellings of devices. Raises PayloadError."""
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(value.strip().casefold()) if isinstance(value, str) else None
    written = spelled(value)
    if known is None and NUMBER.fullmatch(written) and float(written) in (0.0, 1.0):
        number_ = exact_decimal(field, written, shown(value))
        known = bool(number_) if number_ in (0, 1) else None
    if known is None:
        expected = "true, false, on, off, yes, no, 1 or 0"
        raise PayloadError("not_a_boolean", f"{field}: expected {expected}, not {shown(value)}")
    return known


def integer(field: str, value: object, spelling: str) -> int:
    """Return an integer, bare or in quotes. Raises PayloadError with `spelling` in its text."""
    written = spelled(value)
    if not NUMBER.fullmatch(written):
        raise PayloadError("not_an_integer", f"{field}: not an integer: {spelling}")
    exact = exact_decimal(field, written, spelling)
    # Compared first, because an integer of a large exponent has as many digits.
    if not -MAX_INTEGER - 1 <= exact <= MAX_INTEGER:
        limit = "outside of -2^63 to 2^63 - 1"
        raise PayloadError("number_out_of_range", f"{field}: {limit}: {spelling}")
    if exact != exact.to_integral_value():
        raise PayloadError("not_an_integer", f"{field}: not an integer: {spelling}")
    return int(exact)


def exact_decimal(field: str, written: str, spelling: str) -> Decimal:
    """Return the exact number of a text that is one. Raises PayloadError with `spelling`."""
    try:
        return Decimal(written)
    except InvalidOperation as error:  # its exponent has too many digits
        text = f"{field}: too large or too small to be stored: {spelling}"
        raise PayloadError("number_out_of_range", text) from error


def number(field: str, value: object, spelling: str) -> float:
    """Return a number, bare or in quotes, if a float represents it exactly.

    Raises PayloadError with `spelling` in its text.
    """
    written = spelled(value)
    if not NUMBER.fullmatch(written):
        raise PayloadError("not_a_number", f"{field}: not a number: {spelling}")
    result = float(written)
    if abs(result) == float("inf"):
        raise PayloadError("number_out_of_range", f"{field}: too large to be stored: {spelling}")
    if abs(result) >= EXACT and not is_exact(written, result):
        wrong = f"{spelling} would be stored as {result!r}, which is another number"
        raise PayloadError("number_not_exact", f"{field}: {wrong}")
    if not result and is_other_than_zero(written):
        raise PayloadError("number_out_of_range", f"{field}: too small to be stored: {spelling}")
    # Only some databases keep the sign of -0.0.
    return result or 0.0


def _shown_or_null(value: object) -> str:
    return "null or NaN" if value is None else shown(value)


def spelled(value: object) -> str:
    """Return a number as it was written; an empty text if it is none."""
    if isinstance(value, Spelled):
        return value.text
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    return str(value).strip()
