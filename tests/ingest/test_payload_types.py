"""Parsing: what becomes of the values of boolean and integer metrics."""

from pathlib import Path

import pytest

from broker.message import Message
from ingest.message import Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from streams.metric import Value
from streams.reading_key import ReadingKey
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

KEYS = '[metrics.on]\ntype = "boolean"\n[metrics.count]\ntype = "integer"\n[metrics.t]\n'
NOT_ASCII = ',"x":"é"'
"""A field that nobody reads, which leads the parser along its slower way."""
HUGE, TINY = "1e" + "9" * 23, "1e-" + "9" * 23
TOO_FAR = "too large or too small to be stored"
WORDS = "true, false, on, off, yes, no, 1 or 0"


@pytest.fixture
def typed(tmp_path: Path) -> Parser:
    """A parser of metrics of each type, together and each on a topic of its own."""
    required = KEYS.replace("\n[", "\nrequired = true\n[")
    (tmp_path / "wide.toml").write_text(f'topic = "wide/{{device_id}}"\n{KEYS}')
    (tmp_path / "all.toml").write_text(f'topic = "all/{{device_id}}"\n{required}required = true\n')
    (tmp_path / "one.toml").write_text(f'topic = "one/{{device_id}}/{{metric}}"\n{KEYS}')
    return Parser(load(tmp_path, {}, DEVICE_TOPICS))


def parsed(parser: Parser, topic: str, payload: str) -> Parsed:
    return parser.parse(Message(topic, payload.encode(), RECEIVED))


BOOLEANS = [
    ("true", True),
    ("false", False),
    ('"true"', True),
    ('"FALSE"', False),
    ('"On"', True),
    ('"OFF"', False),
    ('"yes"', True),
    ('"No"', False),
    ('"1"', True),
    ('" 0 "', False),
    ("1", True),
    ("0", False),
    ("1.0", True),
    ("-0", False),
]
INTEGERS = [
    ("5", 5),
    ("-0", 0),
    ("0", 0),
    ('"5"', 5),
    ('" +7 "', 7),
    ("5.0", 5),
    ("1e3", 1000),
    ("9007199254740993", 9007199254740993),
    ("9007199254740993.0", 9007199254740993),
    ('"9007199254740993"', 9007199254740993),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
]


@pytest.mark.parametrize("more", ["", NOT_ASCII])
@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        *(("on", value, expected) for value, expected in BOOLEANS),
        *(("count", value, expected) for value, expected in INTEGERS),
    ],
)
def test_a_value_of_a_type_is(
    typed: Parser, metric: str, value: str, expected: Value, more: str
) -> None:
    found = parsed(typed, "wide/7", f'{{"t":-100.5,"{metric}":{value}{more}}}')
    assert isinstance(found, Reading), found
    got = found.values[0 if metric == "on" else 1]
    assert (got, type(got)) == (expected, type(expected))
    for payload in (value, value.strip('"'), f'{{"value":{value}}}'):
        single = parsed(typed, f"one/7/{metric}", payload)
        assert isinstance(single, Reading), (payload, single)
        assert single.values[0 if metric == "on" else 1] == expected


@pytest.mark.parametrize("more", ["", NOT_ASCII])
def test_zeros_and_false_keep_their_types_beside_negative_numbers(typed: Parser, more: str) -> None:
    found = parsed(typed, "all/7", f'{{"on":false,"count":0,"t":-0.0,"x":-123{more}}}')
    assert isinstance(found, Reading), found
    assert [(value, type(value)) for value in found.values] == [
        (False, bool),
        (0, int),
        (0.0, float),
    ]
    assert str(found.values[2]) == "0.0"


@pytest.mark.parametrize("more", ["", NOT_ASCII])
@pytest.mark.parametrize(
    ("field", "value", "reason", "text"),
    [
        ("on", "2", "not_a_boolean", f"on: expected {WORDS}, not 2"),
        ("on", '"open"', "not_a_boolean", f'on: expected {WORDS}, not "open"'),
        ("on", "[true]", "not_a_boolean", f"on: expected {WORDS}, not [true]"),
        ("on", "null", "not_a_boolean", f"on: expected {WORDS}, not null"),
        ("count", HUGE, "number_out_of_range", f"count: {TOO_FAR}: {HUGE}"),
        ("count", TINY, "number_out_of_range", f"count: {TOO_FAR}: {TINY}"),
        ("count", f'"{HUGE}"', "number_out_of_range", f'count: {TOO_FAR}: "{HUGE}"'),
        ("on", HUGE, "not_a_boolean", f"on: expected {WORDS}, not {HUGE}"),
        ("on", TINY, "number_out_of_range", f"on: {TOO_FAR}: {TINY}"),
        ("count", "5.5", "not_an_integer", "count: not an integer: 5.5"),
        ("count", "true", "not_an_integer", "count: not an integer: true"),
        ("count", '"a"', "not_an_integer", 'count: not an integer: "a"'),
        ("count", "null", "not_an_integer", "count: not an integer: null or NaN"),
        (
            "count",
            "9223372036854775808",
            "number_out_of_range",
            "count: outside of -2^63 to 2^63 - 1: 9223372036854775808",
        ),
        (
            "count",
            "1e400000",
            "number_out_of_range",
            "count: outside of -2^63 to 2^63 - 1: 1e400000",
        ),
    ],
)
def test_a_required_value_that_is_none_of_its_type_rejects_the_reading(
    typed: Parser, field: str, value: str, reason: str, text: str, more: str
) -> None:
    fields = {"on": "true", "count": "1", "t": "2"} | {field: value}
    body = ",".join(f'"{name}":{given}' for name, given in fields.items())
    found = parsed(typed, "all/7", f"{{{body}{more}}}")
    assert isinstance(found, Rejection), found
    assert (found.reason, found.text) == (reason, text)


@pytest.mark.parametrize("value", ["null", "NaN", '"unavailable"', '""', '"none"'])
def test_an_optional_value_may_be_none(typed: Parser, value: str) -> None:
    found = parsed(typed, "wide/7", f'{{"on":{value},"count":{value},"t":1}}')
    assert isinstance(found, Reading), found
    assert (found.values, found.unread) == ((None, None, 1.0), ())


def test_integers_that_one_float_stands_for_have_keys_of_their_own() -> None:
    key = ReadingKey(["count"], has_integers=True)
    numbers = [0, 1, 2**53, 2**53 + 1, 2**62, 2**62 + 1, 0x3FF0000000000000, 2**63 - 1, -(2**63)]
    assert len({key.of((number,)) for number in numbers}) == len(numbers)
    assert key.of((5,)) == ReadingKey(["count"]).of((5.0,))
