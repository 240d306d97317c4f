"""Protobuf's wire format: the fields of a message, without its schema; pure.

https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""The wire types; 3 and 4 are groups, which no schema of today has."""
_SIZES = {FIXED64: 8, FIXED32: 4}
_MAX_TAG = 2**32 - 1
_MAX_VARINT = 10
"""Bytes of an integer."""
_ALL_BITS = 2**64 - 1


class WireError(Exception):
    """The bytes are no message; the text names the place."""


class Budget:
    """How many fields a message and those in it may have together."""

    def __init__(self, fields: int) -> None:
        self.most = fields
        self.left = fields


def fields(message: bytes, budget: Budget) -> Iterator[tuple[int, int, Any]]:
    """Yield the number, wire type and value of each field: an integer or bytes. Raises WireError.

    Integers are unsigned and have 64 bits. Each field is taken from the budget.
    """
    at, end = 0, len(message)
    while at < end:
        budget.left -= 1
        if budget.left < 0:
            raise WireError(f"more than {budget.most} fields")
        begin = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not number or tag > _MAX_TAG:
            raise WireError(f"byte {begin}: the field number {number}")
        if wire == VARINT:
            integer, at = _varint(message, at)
            yield number, wire, integer
            continue
        if wire == LENGTH:
            size, at = _varint(message, at)
        elif (size := _SIZES.get(wire, -1)) < 0:
            raise WireError(f"byte {begin}: the wire type {wire}")
        stop = at + size
        if stop > end:
            raise WireError(f"byte {begin}: a field of {size} bytes, of which {end - at} are there")
        yield number, wire, message[at:stop]
        at = stop


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it. Raises WireError."""
    try:
        value = message[at]
        if value < 0x80:
            return value, at + 1
        value &= 0x7F
        for count in range(1, _MAX_VARINT):
            byte = message[at + count]
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                return value & _ALL_BITS, at + count + 1
    except IndexError as error:
        raise WireError(f"byte {at}: an integer that does not end") from error
    raise WireError(f"byte {at}: an integer of more than {_MAX_VARINT} bytes")
