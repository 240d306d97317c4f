"""Sparkplug B: the metrics of a payload by name and time."""

import math
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import sparkplug
from ingest.formats.sparkplug import NO_CERTIFICATE, Certificate, document
from streams.payload_shape import PayloadShape
from tests import formats
from tests.formats import BAD, refused
from tests.sparkplug import SENT, Recorded, encoded, recorded

SPARKPLUG = PayloadShape(format="sparkplug")
INT8, INT16, INT32, INT64, UINT8, UINT32, UINT64, FLOAT = 1, 2, 3, 4, 5, 7, 8, 9


def read(payload: bytes, certificate: Certificate = NO_CERTIFICATE) -> Any:
    return document(sparkplug.read(payload), certificate)


# What client libraries send


def certificate_for(message: Recorded) -> Certificate:
    """That of the recorded birth of its sender, if there is one."""
    topic = message.topic.replace("DATA", "BIRTH")
    births = [birth for birth in recorded() if birth.topic == topic]
    return Certificate.of(sparkplug.read(births[0].payload)) if births else NO_CERTIFICATE


@pytest.mark.parametrize("message", recorded(), ids=lambda one: f"{one.by} {one.topic}")
def test_a_message_has_the_values_that_the_library_was_given(message: Recorded) -> None:
    found = read(message.payload, certificate_for(message))
    assert SENT <= found.pop("timestamp") <= SENT + 3000
    assert found == message.values


# Values


def value_of(**metric: Any) -> Any:
    return formats.document(SPARKPLUG, encoded({"name": "a", "datatype": 0} | metric))["a"]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ({"float_value": 61.5}, 61.5),
        ({"double_value": 0.1}, 0.1),
        ({"double_value": math.nan}, None),
        ({"double_value": math.inf}, "inf"),
        ({"boolean_value": False}, False),
        ({"string_value": "Über"}, "Über"),
        ({"string_value": ""}, ""),
        ({"bytes_value": b"\x01\xff"}, "01ff"),
        ({"dataset_value": b"\xff"}, None),
        ({"template_value": b"\xff"}, None),
        ({"is_null": True}, None),
        ({"is_null": True, "double_value": 5}, None),
        ({}, None),
        ({"metadata": b"\xff", "properties": b"\xff", "double_value": 1}, 1.0),
        ({"is_historical": True, "is_transient": True, "double_value": 1}, 1.0),
        ({"datatype": UINT8, "int_value": 255}, 255),
        ({"datatype": UINT32, "int_value": 2**32 - 1}, 2**32 - 1),
        ({"datatype": UINT32, "long_value": 2**32 - 1}, 2**32 - 1),
        ({"datatype": UINT64, "long_value": 2**64 - 1}, 2**64 - 1),
        ({"datatype": INT8, "int_value": 127}, 127),
        ({"datatype": INT8, "int_value": 255}, -1),
        ({"datatype": INT8, "int_value": 2**32 - 1}, -1),
        ({"datatype": INT16, "int_value": 2**16 - 300}, -300),
        ({"datatype": INT32, "int_value": 2**31}, -(2**31)),
        ({"datatype": INT32, "long_value": 2**32 - 5}, -5),
        ({"datatype": INT32, "long_value": 2**64 - 5}, -5),
        ({"datatype": INT64, "long_value": 2**63 - 1}, 2**63 - 1),
        ({"datatype": INT64, "long_value": 2**64 - 1}, -1),
        ({"datatype": INT64, "int_value": 2**32 - 1}, 2**32 - 1),
        ({"datatype": 13, "long_value": SENT}, SENT),
    ],
)  # fmt: skip
def test_a_value_is(metric: dict[str, Any], expected: Any) -> None:
    found = value_of(**metric)
    assert (found, type(found)) == (expected, type(expected))


values = st.one_of(
    st.fixed_dictionaries({"double_value": st.floats(allow_nan=False, allow_infinity=False)}),
    st.fixed_dictionaries(
        {"float_value": st.floats(width=32, allow_nan=False, allow_infinity=False)}
    ),
    st.fixed_dictionaries({"int_value": st.integers(0, 2**32 - 1)}),
    st.fixed_dictionaries({"long_value": st.integers(0, 2**64 - 1)}),
    st.fixed_dictionaries({"boolean_value": st.booleans()}),
    st.fixed_dictionaries(
        {"string_value": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))}
    ),
    st.fixed_dictionaries({"bytes_value": st.binary()}),
)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.dictionaries(names.filter(lambda name: name != "timestamp"), values, max_size=5),
    st.integers(10**12, 2**64 - 1),
)
def test_what_protobuf_encodes_is_read_back(metrics: dict[str, dict[str, Any]], time: int) -> None:
    payload = encoded(
        *({"name": name, "datatype": UINT64, **value} for name, value in metrics.items()),
        timestamp=time,
        seq=255,
    )
    found = read(payload)
    assert found.pop("timestamp") == time
    assert found == {
        name: value.hex() if isinstance(value := next(iter(one.values())), bytes) else value
        for name, one in metrics.items()
    }


# Times


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([], {"timestamp": SENT}),
        ([{"name": "a", "double_value": 1}], {"timestamp": SENT, "a": 1.0}),
        ([{"name": "a", "timestamp": SENT + 1}], {"timestamp": SENT + 1, "a": None}),
        (
            [{"name": "a", "timestamp": SENT + 1}, {"name": "b"}, {"name": "c", "timestamp": SENT + 1}],
            [{"timestamp": SENT + 1, "a": None, "c": None}, {"timestamp": SENT, "b": None}],
        ),
        (
            [{"name": "a", "double_value": 1}, {"name": "b"}, {"name": "a", "double_value": 2}],
            [{"timestamp": SENT, "a": 1.0, "b": None}, {"timestamp": SENT, "a": 2.0}],
        ),
    ],
)  # fmt: skip
def test_the_metrics_of_one_time_are_a_reading(
    metrics: list[dict[str, Any]], expected: Any
) -> None:
    assert read(encoded(*metrics)) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, {}),
        (0, {}),
        (1_700_000_000, {"timestamp": "1970-01-20T16:13:20.000000Z"}),
        (SENT, {"timestamp": SENT}),
        (2**64 - 1, {"timestamp": 2**64 - 1}),
    ],
)
def test_milliseconds_are_not_taken_for_seconds(time: int | None, expected: Any) -> None:
    assert read(encoded(timestamp=time, seq=1)) == expected


# Names and data types of the birth certificate

BORN = Certificate.of(
    sparkplug.read(
        encoded(
            {"name": "a", "alias": 0, "datatype": INT32, "int_value": 0},
            {"name": "b", "datatype": UINT32, "int_value": 0},
            {"name": "f", "alias": 7, "datatype": FLOAT, "float_value": 0},
        )
    )
)
NOBODY = "no birth certificate that was received says "


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([{"alias": 0, "int_value": 2**32 - 5}, {"alias": 7, "float_value": 2}], {"a": -5, "f": 2.0}),
        ([{"name": "a", "int_value": 2**32 - 5}], {"a": -5}),
        ([{"name": "b", "int_value": 2**32 - 5}], {"b": 2**32 - 5}),
        ([{"name": "a", "datatype": UINT32, "int_value": 2**32 - 5}], {"a": 2**32 - 5}),
        ([{"name": "x", "alias": 7, "double_value": 1}], {"x": 1.0}),
        ([{"name": "", "alias": 7, "double_value": 1}], {"f": 1.0}),
    ],
)  # fmt: skip
def test_a_certificate_says_what_is_not_sent_again(
    metrics: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    assert read(encoded(*metrics), BORN) == {"timestamp": SENT} | expected


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ([{"alias": 8, "double_value": 1}], "the name of the alias 8"),
        ([{"alias": 8, "double_value": 1}, {"alias": 9}], "the name of the alias 8, nor 1 more"),
        ([{"name": "x", "int_value": 5}], "the data type of x"),
        ([{"double_value": 1}], "the name of a metric without an alias"),
    ],
)
def test_a_metric_that_nothing_explains_is_left_out_and_told(
    metrics: list[dict[str, Any]], told: str
) -> None:
    found = read(encoded({"name": "a", "double_value": 1}, *metrics), BORN)
    assert found[0] == {"timestamp": SENT, "a": 1.0}
    (error,) = found[1:]
    assert (error.reason, str(error)) == ("no_birth_certificate", NOBODY + told)


def test_a_metric_cannot_have_the_name_of_the_time() -> None:
    payload = encoded({"name": "timestamp", "double_value": 5}, {"name": "a", "double_value": 1})
    assert formats.document(SPARKPLUG, payload) == [
        {"timestamp": SENT, "a": 1.0},
        f"{BAD}a metric cannot have the name timestamp, where the time is",
    ]


# Payloads


@pytest.mark.parametrize("packed", [zlib.compress, lambda raw: zlib.compress(raw, wbits=31)])
def test_a_compressed_body_is_the_payload(packed: Any) -> None:
    inner = encoded({"name": "a", "double_value": 1})
    payload = encoded(uuid="SPBV1.0_COMPRESSED", body=packed(inner), timestamp=None)
    assert read(payload) == {"timestamp": SENT, "a": 1.0}


def in_payload(metric: bytes) -> bytes:
    return b"\x12" + bytes([len(metric)]) + metric


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"", ("empty_payload", "the payload is empty")),
        (b"{}", ("invalid_sparkplug", "byte 0: the wire type 3")),
        (b"\x08\xff", ("invalid_sparkplug", "byte 1: an integer that does not end")),
        (in_payload(b"\x0a\x05a"), ("invalid_sparkplug", "metric 0: byte 0: a field of 5 bytes, of which 1 are there")),
        (in_payload(b"\x0a\x01\xff"), ("invalid_utf8", "metric 0: a text has bytes that are not valid UTF-8: invalid start byte")),
        (in_payload(b"\x0a\x01\0"), ("invalid_text", "metric 0: a NUL character (\\u0000) cannot be stored")),
        (encoded({"name": "a", "string_value": "\0"}), ("invalid_text", "metric 0: a NUL character (\\u0000) cannot be stored")),
        (encoded({"name": "a" * 501}), ("invalid_sparkplug", "metric 0: a name has 501 characters; at most 500 are allowed")),
        (b"\x12\0" * 10_001, ("too_large", "more metrics than 10000, which are allowed")),
        (b"\x18\0" * 60_001, ("invalid_sparkplug", "more than 60000 fields")),
        (b"\x12" * 1_000_001, ("too_large", "1000001 bytes; at most 1000000 are allowed")),
        (encoded(uuid="SPBV1.0_COMPRESSED", body=b"?"), ("invalid_sparkplug", "byte 0: the wire type 7")),
    ],
)  # fmt: skip
def test_a_payload_is_refused(payload: bytes, refusal: tuple[str, str]) -> None:
    assert refused(SPARKPLUG, payload) == refusal


def test_a_wrong_metric_does_not_sink_the_others() -> None:
    payload = encoded({"name": "a", "int_value": 1, "datatype": 3}) + in_payload(b"\x0a\x05b")
    reading, error = read(payload + in_payload(b"\x0a\x01c\x70\x01"))
    assert reading == {"timestamp": SENT, "a": 1, "c": True}
    text = "metric 1: byte 0: a field of 5 bytes, of which 1 are there"
    assert (error.reason, str(error)) == ("invalid_sparkplug", text)


def test_fields_of_another_version_are_passed_over() -> None:
    unknown = b"\xa0\x06\x01\xa2\x06\x02ab\xa5\x061234\x09" + bytes(8)
    payload = encoded(timestamp=SENT) + unknown + in_payload(b"\x0a\x01a" + unknown)
    assert read(payload) == {"timestamp": SENT, "a": None}
