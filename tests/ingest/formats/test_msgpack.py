"""MessagePack: a document has the types that JSON would have."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.payload_shape import PayloadShape
from tests.formats import document, refused

MSGPACK = PayloadShape(format="msgpack")
pack = msgspec.msgpack.encode
Ext = msgspec.msgpack.Ext
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(documents)
def test_what_json_has_too_stays(value: Any) -> None:
    assert document(MSGPACK, pack({"a": value})) == {"a": value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"\x01\xff", "01ff", id="bytes"),
        pytest.param(
            datetime(2025, 9, 29, 16, 27, 50, 250000, tzinfo=UTC),
            "2025-09-29T16:27:50.250000Z",
            id="a time",
        ),
        pytest.param(float("nan"), None, id="NaN"),
        pytest.param(float("-inf"), "-inf", id="infinity"),
        pytest.param({1: 2, -3: 4}, {"1": 2, "-3": 4}, id="integers as keys"),
        pytest.param([{"b": b""}], [{"b": ""}], id="bytes further inside"),
    ],
)
def test_a_value_becomes(value: Any, expected: Any) -> None:
    assert document(MSGPACK, pack({"a": value})) == {"a": expected}


def test_zeros_at_its_end_belong_to_it() -> None:
    payload = pack({"a": 23.5})
    assert payload.endswith(b"\0\0")
    assert document(MSGPACK, payload) == {"a": 23.5}


def lists(depth: int) -> bytes:
    return b"\x91" * depth + b"\1"


INVALID = "not valid MessagePack: "
KEY = "a key must be a text or an integer, not "
DEEP = "the document is nested more than 32 deep"


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"\x81\xa1a", ("invalid_msgpack", f"{INVALID}Input data was truncated")),
        (b"\x81\xa1a\1\2", ("invalid_msgpack", f"{INVALID}trailing characters (byte 4)")),
        (b"\xc1", ("invalid_msgpack", f"{INVALID}invalid opcode '\\xc1' (byte 0)")),
        (b"\xdd\xff\xff\xff\xff", ("invalid_msgpack", f"{INVALID}Input data was truncated")),
        (b"\xc6\x7f\xff\xff\xff", ("invalid_msgpack", f"{INVALID}Input data was truncated")),
        (b"", ("empty_payload", "the payload is empty")),
        (
            b"\xa2\xff\xff",
            ("invalid_utf8", "a text has bytes that are not valid UTF-8: invalid start byte"),
        ),
        (pack({"a": "\0"}), ("invalid_text", "a NUL character (\\u0000) cannot be stored")),
        (
            pack({"a": [Ext(5, b"x")]}),
            ("invalid_msgpack", "a[0]: an extension of the type 5; only -1, a timestamp, is known"),
        ),
        (pack({True: 1}), ("invalid_msgpack", f"{KEY}True")),
        (pack({b"k": 1}), ("invalid_msgpack", f"{KEY}b'k'")),
        (pack({"a": {None: 1}}), ("invalid_msgpack", f"a: {KEY}something else")),
        (pack({"a": {1: 1, "1": 2}}), ("invalid_msgpack", "a.1: the key stands twice")),
        (lists(33), ("too_deep", DEEP)),
        (lists(60_000), ("too_deep", "the MessagePack is nested too deeply")),
        (pack(bytes(10**6)), ("too_large", "1000005 bytes; at most 1000000 are allowed")),
    ],
)
def test_a_payload_is_refused(payload: bytes, refusal: tuple[str, str]) -> None:
    assert refused(MSGPACK, payload) == refusal


def test_32_levels_are_allowed() -> None:
    assert document(MSGPACK, lists(32)) != 1
