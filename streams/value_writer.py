"""Write values of metrics as payloads have them: the inverse of their conversion."""

import base64
import struct
from decimal import Decimal
from typing import Any

from streams.metric import BytesAt, Metric, Value
from streams.paths import MISSING

_DIGITS = {0: "", 2: "b", 8: "o", 16: "X"}
_Meaning = tuple[bool, Value]
"""A value, and whether it is a boolean, which tells true and 1 apart."""


class ValueWriter:
    """Writes the values of a metric."""

    def __init__(self, metric: Metric) -> None:
        self._type = metric.type
        self._is_scaled = metric.is_quantity and (metric.scale != 1 or metric.offset != 0)
        self._scale, self._offset = Decimal(repr(metric.scale)), Decimal(repr(metric.offset))
        self._digits = _DIGITS[metric.base]
        self._bytes = None if metric.bytes is None else _BytesWriter(metric.bytes)
        self._pieces = None if metric.item is None else _PieceWriter(metric.split, metric.item)
        is_number = bool(self._digits) or self._bytes is not None
        self._words = _words(metric.map, are_numbers=is_number)
        self.is_exact = not (self._is_scaled or is_number)
        """Whether a payload can have every value."""
        self.is_part = self._bytes is not None or self._pieces is not None
        """Whether other metrics may be in the same text or array."""

    def representable(self, value: Value) -> Value:
        """Return the nearest value that a payload can have."""
        if self.is_exact:
            return value
        number = self._unscaled(value)
        if _meaning(number) in self._words:
            return value
        if self._digits:
            number = abs(round(number))
        if self._bytes is not None:
            number = self._bytes.nearest(number)
        exact = Decimal(repr(number)) * self._scale + self._offset
        return float(exact) if self._type == "number" else round(exact)

    def raw(self, value: Value, found: Any = MISSING) -> Any:
        """Return what a payload has for a value.

        `found` is what it has at that place for metrics that are in the same text or array.
        """
        written: Any = self._unscaled(value) if self._is_scaled else value
        if self._words:
            written = self._words.get(_meaning(written), written)
        if self._digits:
            written = f"{round(written):{self._digits}}"
        if self._bytes is not None:
            before = found if self._pieces is None else self._pieces.picked(found)
            written = self._bytes.write(written, before)
        return written if self._pieces is None else self._pieces.write(written, found)

    def _unscaled(self, value: Any) -> float:
        exact = (Decimal(str(value)) - self._offset) / self._scale
        return int(exact) if exact == exact.to_integral_value() else float(exact)


class _BytesWriter:
    """Writes numbers among the bytes of a text."""

    def __init__(self, declared: BytesAt) -> None:
        self._at = declared.at
        self._is_hex = declared.encoding == "hex"
        self._struct = struct.Struct(declared.format)
        self._is_float = declared.kind.startswith("f")
        bits = 8 * self._struct.size
        is_signed = declared.kind.startswith("i")
        self._low: int = -(2 ** (bits - 1)) if is_signed else 0
        self._high: int = self._low + 2**bits - 1

    def nearest(self, number: float) -> float:
        """Return the nearest number that has this format."""
        if not self._is_float:
            return min(max(round(number), self._low), self._high)
        (nearest,) = self._struct.unpack(self._struct.pack(number))
        return float(nearest)

    def write(self, number: float, found: Any) -> str:
        """Return the text with a number, and with the bytes of the text that was found."""
        content = bytearray()
        if isinstance(found, str):
            content += bytes.fromhex(found) if self._is_hex else base64.b64decode(found)
        content += bytes(max(0, self._at + self._struct.size - len(content)))
        self._struct.pack_into(content, self._at, number if self._is_float else round(number))
        return content.hex().upper() if self._is_hex else base64.b64encode(content).decode()


class _PieceWriter:
    """Writes pieces of a text, or elements of an array."""

    def __init__(self, separator: str, item: int) -> None:
        self._separator = separator
        self._item = item
        self._size = item + 1 if item >= 0 else -item

    def picked(self, found: Any) -> Any:
        """Return the piece of what was found, or MISSING."""
        pieces = self._split(found)
        return pieces[self._item] if len(pieces) >= self._size else MISSING

    def write(self, piece: Any, found: Any) -> Any:
        """Return the text or array with a piece, and with the other pieces of what was found."""
        pieces = self._split(found)
        pieces += ["" if self._separator else None] * (self._size - len(pieces))
        pieces[self._item] = piece
        return self._separator.join(map(str, pieces)) if self._separator else pieces

    def _split(self, found: Any) -> list[Any]:
        if isinstance(found, str) and self._separator:
            return list(found.split(self._separator))
        return list(found) if isinstance(found, list) else []


def _words(declared: dict[str, Value], *, are_numbers: bool) -> dict[_Meaning, Any]:
    """Return the first word for each value.

    Digits and bytes hold numbers, so other words cannot stand there.
    """
    words: dict[_Meaning, Any] = {}
    for word, value in declared.items():
        if not are_numbers:
            words.setdefault(_meaning(value), word)
        elif _is_number(word):
            words.setdefault(_meaning(value), float(word))
    return words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _meaning(value: Value) -> _Meaning:
    return isinstance(value, bool), value
