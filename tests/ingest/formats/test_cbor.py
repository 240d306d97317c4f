"""CBOR: a document has the types that JSON would have, and nothing declared is believed."""

from typing import Any

import pytest

from streams.payload_shape import PayloadShape
from tests.formats import document, refused, spelling

CBOR = PayloadShape(format="cbor")
A = b"\xa1aa"
"""The beginning of an object with the key `a`."""


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(b"\xfb@7\x80\0\0\0\0\0", 23.5, id="a number with zeros at its end"),
        pytest.param(b"\xf9M\xe0", 23.5, id="half a float"),
        pytest.param(b"\xf6", None, id="null"),
        pytest.param(b"\xf7", None, id="undefined"),
        pytest.param(b"\xf5", True, id="true"),
        pytest.param(b"\xf9~\0", None, id="NaN"),
        pytest.param(b"\xf9|\0", "inf", id="infinity"),
        pytest.param(b"bon", "on", id="a text"),
        pytest.param(b"\x7fbonb!!\xff", "on!!", id="a text in pieces"),
        pytest.param(b"B\1\xff", "01ff", id="bytes"),
        pytest.param(b"\x82\1\2", [1, 2], id="an array"),
        pytest.param(b"\x9f\1\2\xff", [1, 2], id="an array of unknown length"),
        pytest.param(b"\xbfab\1\xff", {"b": 1}, id="an object of unknown length"),
        pytest.param(b"\xa2\1\2\x20\3", {"1": 2, "-1": 3}, id="integers as keys"),
        pytest.param(b"\xc0t2025-09-29T16:27:50Z", "2025-09-29T16:27:50Z", id="a time"),
        pytest.param(b"\xc1\x1ah\xda\xb3\x86", 1759163270, id="a time as a number"),
        pytest.param(b"\xc2I\1" + bytes(8), 2**64, id="a large integer"),
        pytest.param(b"\xc3I\1" + bytes(8), -1 - 2**64, id="a large negative integer"),
        pytest.param(b"\xd9\xd9\xf7\1", 1, id="a tag that says that it is CBOR"),
        pytest.param(b"\xd9\x01\x02\x82\1\2", [1, 2], id="a set"),
        pytest.param(b"\xd8%P" + b"1" * 16, "31" * 16, id="a UUID"),
        pytest.param(b"\xd9\x7f\xff\1", 1, id="a tag that nobody knows"),
    ],
)
def test_a_value_becomes(payload: bytes, expected: Any) -> None:
    assert document(CBOR, A + payload) == {"a": expected}


def test_a_decimal_fraction_is_exact() -> None:
    assert spelling(document(CBOR, A + b"\xc4\x82\x21\x19j\xb3")["a"]) == "27315e-2"


END = "not valid CBOR: premature end of stream (expected to read at least "
DEEP = "the document is nested more than 32 deep"
FRACTION = "a decimal fraction (tag 4) without an exponent and an integer"


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (A, ("invalid_cbor", f"{END}1 bytes, got 0 instead)")),
        (b"\x9b" + b"\xff" * 8, ("invalid_cbor", f"{END}1 bytes, got 0 instead)")),
        (b"\x5a\x7f\xff\xff\xff", ("invalid_cbor", f"{END}65536 bytes, got 0 instead)")),
        (A + b"\1\2", ("invalid_cbor", "the document ends before byte 4, the payload does not")),
        (A + b"\xe5", ("invalid_cbor", "a: the simple value 5, which has no meaning")),
        (
            A + b"\x81\xa1ab\xe5",
            ("invalid_cbor", "a[0].b: the simple value 5, which has no meaning"),
        ),
        (A + b"\xd8\x1d\0", ("invalid_cbor", "a reference (tag 29) instead of a value")),
        (A + b"\xc4\1", ("invalid_cbor", FRACTION)),
        (A + b"\xc4\x82a1\1", ("invalid_cbor", FRACTION)),
        (A + b"\xc2\1", ("invalid_cbor", "an integer of many bytes (tag 2 or 3) without bytes")),
        (
            b"\xa1\xc2A\1\1",
            ("invalid_cbor", "a key with the tag 2; a key must be a text or an integer"),
        ),
        (b"\xa1\xf5\1", ("invalid_cbor", "a key must be a text or an integer, not True")),
        (b"\xa1\x80\1", ("invalid_cbor", "a key must be a text or an integer, not something else")),
        (b"\xa2\1\1a1\1", ("invalid_cbor", "1: the key stands twice")),
        (
            b"\xa2aa\1aa\2",
            ("invalid_cbor", "not valid CBOR: error decoding map: Duplicate map key: 'a'"),
        ),
        (
            A + b"b\xff\xff",
            ("invalid_utf8", "a text has bytes that are not valid UTF-8: invalid start byte"),
        ),
        (A + b"a\0", ("invalid_text", "a NUL character (\\u0000) cannot be stored")),
        (b"", ("empty_payload", "the payload is empty")),
        (b"\x81" * 33 + b"\1", ("too_deep", DEEP)),
        (b"\x81" * 60_000, ("too_deep", DEEP)),
        (b"\xc6" * 60_000, ("too_deep", DEEP)),
        (bytes(10**6) + b"\1", ("too_large", "1000001 bytes; at most 1000000 are allowed")),
        (
            A + b"\xc2\x58\x81" + b"\1" * 129,
            ("number_out_of_range", "an integer has 129 bytes; at most 128 are allowed"),
        ),
        (
            A + b"\xc4\x82\x19\x01\x91\1",
            ("number_out_of_range", "a decimal fraction has an exponent beyond 400"),
        ),
    ],
)
def test_a_payload_is_refused(payload: bytes, refusal: tuple[str, str]) -> None:
    assert refused(CBOR, payload) == refusal


def test_32_levels_are_allowed() -> None:
    assert document(CBOR, b"\x81" * 32 + b"\1") != 1
