"""Conversion: turn what a payload has for a metric into the value that is stored; pure."""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal, Overflow
from typing import Any

from ingest.showing import shown
from ingest.values import NUMBER, PayloadError, exact_decimal, is_no_value, spelled, stored
from streams.metric import BytesAt, Metric, Value
from streams.paths import MISSING
from streams.stream import Stream

Step = Callable[[str, Any], Any]
"""Takes the name of a field and what was found; returns None for no value.

MISSING stands for a piece or an element that is not there.
"""
MAX_SOURCE = 10_000
"""Characters of a text that is cut, mapped or decoded, or that is a number."""
MAX_DIGITS = 80
"""Characters of digits; a number of 64 bits has fewer in any base."""
# Thousands may be separated by dots or spaces, in groups of three.
_WITH_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[. ]\d{3})+)(?:,\d*)?|[+-]?,\d+", re.ASCII)


class Converter:
    """Converts what is found for a metric, step by step as declared."""

    def __init__(self, stream: Stream, metric: Metric) -> None:
        self._metric = metric
        self._nulls = frozenset(stream.shape.null)
        self._null_numbers = frozenset(map(float, filter(NUMBER.fullmatch, stream.shape.null)))
        self._steps = tuple(_steps(metric, stream.shape.decimal))
        self._is_read = bool(self._steps) or metric.type != "text"
        self._picks = bool(metric.split) or metric.item is not None
        self._is_scaled = metric.scale != 1 or metric.offset != 0
        self._scale, self._offset = Decimal(repr(metric.scale)), Decimal(repr(metric.offset))
        is_first = metric.item in (None, 0, -1)
        changes = metric.map or metric.bytes or self._is_scaled or self._nulls or not is_first
        self.keeps_numbers = metric.type == "number" and not changes
        """Whether a number is stored as it is."""

    def value(self, field: str, found: Any, *, is_required: bool = False) -> Value | None:
        """Return the value to store, None if there is none.

        Raises PayloadError, also if there is none where one is required.
        """
        if isinstance(found, str) and len(found) > MAX_SOURCE and self._is_read:
            limit = f"{len(found)} characters; at most {MAX_SOURCE} are read"
            raise PayloadError("too_large", f"{field}: {limit}")
        for step in self._steps:
            if found is MISSING or self.is_null(found):
                break
            found = step(field, found)
        if found is MISSING:
            found = None
        if self.is_null(found):
            if not is_required:
                return None
            if not is_no_value(self._metric, found):  # a word of the file
                raise PayloadError("missing_field", f"{field}: no value: {shown(found)}")
        if self._is_scaled:
            found = self._scaled(field, found)
        return stored(self._metric, field, found)

    def has_piece(self, found: Any) -> bool:
        """Return whether the piece or element that the metric asks for is there."""
        return not self._picks or self._steps[0]("", found) is not MISSING

    def is_null(self, found: Any) -> bool:
        """Return whether what was found means no value."""
        if isinstance(found, str) and found.strip() in self._metric.map:
            return False
        if is_no_value(self._metric, found):
            return True
        if not self._nulls:
            return False
        if isinstance(found, str):
            text = found.strip()
            if text in self._nulls or self._metric.type == "text" or not NUMBER.fullmatch(text):
                return text in self._nulls
            found = float(text)
        return isinstance(found, int | float) and found in self._null_numbers

    def _scaled(self, field: str, found: Any) -> Any:
        if not NUMBER.fullmatch(spelled(found)):
            return found  # `stored` says what it is
        # With decimal numbers, because 2312 * 0.1 is 231.20000000000002.
        number = exact_decimal(field, spelled(found), shown(found))
        try:
            return str(number * self._scale + self._offset)
        except Overflow as error:
            text = f"{field}: too large to be stored: {shown(found)}"
            raise PayloadError("number_out_of_range", text) from error


def _steps(metric: Metric, decimal: str) -> Iterator[Step]:
    if metric.split or metric.item is not None:
        yield _picker(metric)
    if metric.bytes is not None:
        yield _reader_of_bytes(metric.bytes)
    if metric.base:
        yield _digits(metric.base)
    if metric.map:
        yield _mapping(metric.map)
    if metric.is_quantity and (metric.unit or metric.suffix):
        # The longer first: one may be the end of the other.
        units = sorted(filter(None, (metric.unit, metric.suffix)), key=len, reverse=True)
        yield _without_unit(units)
    if metric.is_quantity and decimal == ",":
        yield _with_point


def _picker(metric: Metric) -> Step:
    separator, item = metric.split, metric.item or 0

    def pick(_field: str, found: Any) -> Any:
        if isinstance(found, str) and separator:
            found = [piece.strip() for piece in found.split(separator)]
        if not isinstance(found, list):
            found = [found]
        return found[item] if -len(found) <= item < len(found) else MISSING

    return pick


def _reader_of_bytes(declared: BytesAt) -> Step:
    kind = struct.Struct(declared.format)
    end = declared.at + kind.size

    def read(field: str, found: Any) -> Any:
        content = _bytes(found, declared.encoding)
        if content is None or len(content) < end:
            expected = f"at least {end} bytes in {declared.encoding}"
            raise PayloadError("not_bytes", f"{field}: expected {expected}, not {shown(found)}")
        number: float = kind.unpack_from(content, declared.at)[0]
        return None if math.isnan(number) else number

    return read


def _bytes(found: Any, encoding: str) -> bytes | None:
    if not isinstance(found, str):
        return None
    try:
        if encoding == "hex":
            return bytes.fromhex(found.removeprefix("0x"))
        return base64.b64decode(found, validate=True)
    except (ValueError, binascii.Error):
        return None


def _digits(base: int) -> Step:
    def read(field: str, found: Any) -> Any:
        if not isinstance(found, str):
            return found
        if len(found) <= MAX_DIGITS:
            with suppress(ValueError):
                return int(found.strip().replace("_", "?"), base)
        expected = f"digits of base {base}"
        raise PayloadError("not_a_number", f"{field}: expected {expected}, not {shown(found)}")

    return read


def _mapping(declared: dict[str, Value]) -> Step:
    by_number = {float(key): value for key, value in declared.items() if NUMBER.fullmatch(key)}

    def mapped(_field: str, found: Any) -> Any:
        if isinstance(found, bool):
            return declared.get("true" if found else "false", found)
        if isinstance(found, int | float):
            return by_number.get(found, found)
        if isinstance(found, str):
            return declared.get(found.strip(), found)
        return found

    return mapped


def _without_unit(units: list[str]) -> Step:
    def strip(_field: str, found: Any) -> Any:
        if isinstance(found, str):
            text = found.strip()
            for unit in units:
                if text.endswith(unit):
                    return text.removesuffix(unit).rstrip()
        return found

    return strip


def _with_point(field: str, found: Any) -> Any:
    if not isinstance(found, str):
        return found
    text = found.strip()
    if not _WITH_COMMA.fullmatch(text):
        problem = f"not a number with a decimal comma: {shown(found)}"
        raise PayloadError("not_a_number", f"{field}: {problem}")
    return re.sub("[. ]", "", text).replace(",", ".")
