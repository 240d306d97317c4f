"""The wire format of protobuf: the fields of a message, or the place of what is wrong."""

from typing import Any

import pytest

from ingest.formats.protobuf import Budget, WireError, fields


def read(message: bytes, most: int = 100) -> list[tuple[int, int, Any]]:
    return list(fields(message, Budget(most)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", []),
        (b"\x08\x96\x01", [(1, 0, 150)]),
        (b"\x08" + b"\xff" * 9 + b"\x01", [(1, 0, 2**64 - 1)]),
        (b"\x08" + b"\xff" * 9 + b"\x7f", [(1, 0, 2**64 - 1)]),
        (b"\x08\x80\x00", [(1, 0, 0)]),
        (b"\x12\x03abc\x12\x00", [(2, 2, b"abc"), (2, 2, b"")]),
        (b"\x0d1234\x1112345678", [(1, 5, b"1234"), (2, 1, b"12345678")]),
        (b"\xf8\xff\xff\xff\x0f\x05", [(2**29 - 1, 0, 5)]),
    ],
)
def test_a_message_has_fields(message: bytes, expected: list[tuple[int, int, Any]]) -> None:
    assert read(message) == expected


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"\x08", "byte 1: an integer that does not end"),
        (b"\x08\xff", "byte 1: an integer that does not end"),
        (b"\x80", "byte 0: an integer that does not end"),
        (b"\x08" + b"\xff" * 10, "byte 1: an integer of more than 10 bytes"),
        (b"\x08\x01\x12\x05abc", "byte 2: a field of 5 bytes, of which 3 are there"),
        (
            b"\x12" + b"\xff" * 9 + b"\x01",
            "byte 0: a field of 18446744073709551615 bytes, of which 0 are there",
        ),
        (b"\x0d123", "byte 0: a field of 4 bytes, of which 3 are there"),
        (b"\x091234567", "byte 0: a field of 8 bytes, of which 7 are there"),
        (b"\x0b\x08\x01\x0c", "byte 0: the wire type 3"),
        (b"\x0c", "byte 0: the wire type 4"),
        (b"\x0e", "byte 0: the wire type 6"),
        (b"\x00\x01", "byte 0: the field number 0"),
        (b"\x80\x80\x80\x80\x10\x01", "byte 0: the field number 536870912"),
        (b"\x08\x01" * 101, "more than 100 fields"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(message: bytes, told: str) -> None:
    with pytest.raises(WireError) as caught:
        read(message)
    assert str(caught.value) == told


def test_a_budget_is_shared() -> None:
    budget = Budget(3)
    assert len(list(fields(b"\x08\x01\x08\x01", budget))) == 2
    with pytest.raises(WireError, match="more than 3 fields"):
        list(fields(b"\x08\x01\x08\x01", budget))
