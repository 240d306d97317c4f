"""Parsing: what becomes of a value in every shape of payload, and that a bad one costs only itself where it may."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.payload import Parser
from tests.parsing import reading, rejection, sensors
from tests.support import payload

NOT_ASCII = ',"x":"é"'
"""A field that nobody reads, which leads the parser along its slower way."""


def machine(speed: str, more: str = "") -> str:
    """A payload of `plant/status`, where no metric is required, with a good neighbour."""
    return f'{{"machine_id":"M7","speed":{speed},"state":"on"{more}}}'


def soil(value: str, more: str = "") -> str:
    """A nested payload, in which pH is not required."""
    return f'{{"sensor_readings":{{"N":22,"pH":{value}}}{more}}}'


NO_VALUE = [
    "null",
    "NaN",
    "nan",
    "NAN",
    "-nan",
    "nan(ind)",
    "-1.#IND",
    '"NaN"',
    '"nan"',
    '"null"',
    '"None"',
    '""',
]
NO_VALUE += ['" "', '"unavailable"', '"unknown"', '"Undefined"']


@pytest.mark.parametrize("more", ["", NOT_ASCII, ',"heap":NaN'])
@pytest.mark.parametrize("text", NO_VALUE)
def test_no_value_of_an_optional_metric_leaves_its_neighbours(
    text: str, more: str, parser: Parser
) -> None:
    wide, nested = (
        reading(parser, machine(text, more), "plant/status"),
        reading(parser, soil(text, more), "soil/data"),
    )
    assert (wide.values, wide.unread) == ((None, "on"), ())
    assert (nested.values, nested.unread) == ((22.0, None), ())


@pytest.mark.parametrize("text", ["null", "NaN", "nan"])
def test_no_text_of_an_optional_metric_leaves_its_neighbours(text: str, parser: Parser) -> None:
    read = reading(parser, f'{{"machine_id":"M7","speed":1,"state":{text}}}', "plant/status")
    assert (read.values, read.unread) == ((1.0, None), ())


@pytest.mark.parametrize("more", ["", NOT_ASCII])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"abc"', 'not a number: "abc"'),
        ("true", "not a number: true"),
        ("{}", "not a number: {}"),
        ("[1.5]", "not a number: [1.5]"),
        ('"1,5"', 'not a number: "1,5"'),
        ("1e999", "too large to be stored: 1e999"),
        ("1e-999", "too small to be stored: 1e-999"),
        ("-Infinity", 'not a number: "-Infinity"'),
        ("ovf", 'not a number: "ovf"'),
        ("1" * 5_000, f'too large to be stored: "{"1" * 59}…'),
        (
            "9007199254740993",
            "9007199254740993 would be stored as 9007199254740992.0, which is another number",
        ),
    ],
)
def test_an_unreadable_value_of_an_optional_metric_leaves_its_neighbours_and_is_told(
    text: str, sentence: str, more: str, parser: Parser
) -> None:
    wide, nested = (
        reading(parser, machine(text, more), "plant/status"),
        reading(parser, soil(text, more), "soil/data"),
    )
    assert (wide.values, wide.unread) == ((None, "on"), (f"speed: {sentence}",))
    assert (nested.values, nested.unread) == ((22.0, None), (f"pH: {sentence}",))


@pytest.mark.parametrize("text", ["5", "true", '"a\\nb"', '"a\u200b"', f'"{"x" * 256}"'])
def test_an_unreadable_text_of_an_optional_metric_leaves_its_neighbours(
    text: str, parser: Parser
) -> None:
    read = reading(parser, f'{{"machine_id":"M7","speed":1,"state":{text}}}', "plant/status")
    assert read.values == (1.0, None)
    assert read.unread[0].startswith("state: ")


@pytest.mark.parametrize("text", ["null", "NaN", '"nan"', '""', '"unavailable"'])
def test_a_reading_of_nothing_but_no_values_is_set_aside(text: str, parser: Parser) -> None:
    nothing = ("missing_field", "the payload has none of the metrics: speed, state")
    assert (
        rejection(parser, f'{{"machine_id":"M7","speed":{text},"state":null}}', "plant/status")
        == nothing
    )


@pytest.mark.parametrize("text", ["null", "NaN", '"nan"', '"abc"', "true", "{}"])
@pytest.mark.parametrize("more", ["", NOT_ASCII])
def test_a_required_metric_needs_a_number(text: str, more: str, parser: Parser) -> None:
    assert rejection(parser, sensors(text, more))[0] == "not_a_number"
    nested = f'{{"sensor_readings":{{"N":{text},"pH":7}}{more}}}'
    reason, sentence = rejection(parser, nested, "soil/data")
    assert (reason, sentence[:18]) == ("not_a_number", "N: not a number: " + sentence[17])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+21.5", 21.5), (".5", 0.5), ("-.5", -0.5), ("5.", 5.0), ("007", 7.0), ("-007.50", -7.5), ("+.5e1", 5.0),
        ("00", 0.0), ("1.5E+2", 150.0), ("12", 12.0),
    ],
)  # fmt: skip
def test_a_number_is_read_the_same_bare_and_quoted_wherever_it_stands(
    text: str, number: float, parser: Parser
) -> None:
    for spelled in (text, f'"{text}"', f" {text} ", f'" {text} "'):
        assert reading(parser, sensors(spelled)).values[0] == number
        assert reading(parser, soil(spelled), "soil/data").values == (22.0, number)
        assert reading(parser, machine(spelled), "plant/status").values == (number, "on")
        assert reading(parser, spelled, "panel/P1/ampere").values == (number, None)
        assert reading(parser, f'{{"value":{spelled}}}', "panel/P1/ampere").values == (number, None)


@pytest.mark.parametrize("text", ["0", "-0", "0.0", "-0.0", "-0e5", "0e-400", "-.0", "+0"])
def test_zero_has_no_sign(text: str, parser: Parser) -> None:
    for spelled in (text, f'"{text}"'):
        assert repr(reading(parser, sensors(spelled)).values[0]) == "0.0"
        assert repr(reading(parser, soil(spelled), "soil/data").values[1]) == "0.0"
        assert repr(reading(parser, machine(spelled), "plant/status").values[0]) == "0.0"
        assert repr(reading(parser, spelled, "panel/P1/ampere").values[0]) == "0.0"
        assert repr(reading(parser, f'{{"value":{spelled}}}', "panel/P1/ampere").values[0]) == "0.0"


@pytest.mark.parametrize("text", ["1e-400", "-1E-400", "2e-324", "0.1e-323", f"0.{'0' * 400}1"])
def test_what_is_too_small_is_rejected_on_a_topic_of_its_own(text: str, parser: Parser) -> None:
    for said in (text, f'"{text}"', f'{{"value":{text}}}', f'{{"value":"{text}"}}'):
        reason, sentence = rejection(parser, said, "panel/P1/ampere")
        assert (reason, sentence[:29]) == ("number_out_of_range", "value: too small to be stored")


@pytest.mark.parametrize(
    "text", ["1_000", "1,5", "٢٤", "0x10", "1 000", "--5", "5-", ".", "+", "1e", "1.2.3", "12 A"]
)
def test_what_is_no_number_is_rejected_bare_and_quoted(text: str, parser: Parser) -> None:
    assert rejection(parser, text, "panel/P1/ampere") == (
        "not_a_number",
        f"value: not a number: {text}",
    )
    assert rejection(parser, f'"{text}"', "panel/P1/ampere") == (
        "not_a_number",
        f'value: not a number: "{text}"',
    )
    assert rejection(parser, sensors(f'"{text}"'))[0] == "not_a_number"
    assert rejection(parser, sensors(text))[0] == "invalid_json"


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "12.3",
        "true",
        "null",
        "NaN",
        "S",
        "12.3.0",
        "+5",
        "[1]",
        "[OK] started",
        "{",
        "{}}",
        "{offline}",
        '"a" b',
        '"unterminated',
        '"a\\u00"',
        '"a" "b"',
        "  a  b  ",
        "-",
        "a\\u0041",
    ],
)
def test_on_a_topic_of_its_own_the_bytes_are_the_text(text: str, parser: Parser) -> None:
    assert reading(parser, text, "panel/P1/mode").values == (None, text)
    assert reading(parser, f" {text}\r\n", "panel/P1/mode").values == (None, f" {text}")


@pytest.mark.parametrize("payload", ['"on"', ' "on"\r\n', '{"value":"on"}', ' { "value" : "on" } '])
def test_json_on_a_topic_of_its_own_is_read_as_json(payload: str, parser: Parser) -> None:
    assert reading(parser, payload, "panel/P1/mode").values == (None, "on")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"value": "o', "invalid_json"),
        ('{ "value": on}', "invalid_json"),
        ('{"other": "on"}', "missing_field"),
        ("{}", "missing_field"),
        ('"\\ud800"', "invalid_json"),
        ('"a\\u0000"', "invalid_text"),
        ('"a\\u200b"', "invalid_text"),
        ('{"value": 3}', "not_text"),
        (" \r\n", "empty_payload"),
    ],
)
def test_json_that_cannot_be_stored_is_no_text(payload: str, reason: str, parser: Parser) -> None:
    assert rejection(parser, payload, "panel/P1/mode")[0] == reason


LARGE = [
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "9007199254740993.0",
]
LARGE += [
    "9007199254740993.5",
    "9.007199254740993e15",
    "12345678901234567890",
    "1" + "0" * 25,
    "0009007199254740993",
]


@pytest.mark.parametrize("text", LARGE)
def test_a_number_that_would_be_altered_is_set_aside(text: str, parser: Parser) -> None:
    for spelled in (text, f'"{text}"'):
        for found in (
            rejection(parser, sensors(spelled)),
            rejection(parser, sensors(spelled, NOT_ASCII)),
            rejection(parser, f'{{"sensor_readings":{{"N":{spelled}}}}}', "soil/data"),
            rejection(parser, spelled, "panel/P1/ampere"),
            rejection(parser, f'{{"value":{spelled}}}', "panel/P1/ampere"),
        ):
            assert found[0] == "number_not_exact"
            assert text in found[1]


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740991",
        "9007199254740992",
        "9007199254740994",
        "18446744073709551616",
        "9007199254740994.0",
    ],
)
def test_a_large_number_that_a_float_holds_is_stored(text: str, parser: Parser) -> None:
    for spelled in (text, f'"{text}"', f"-{text}"):
        number = float(spelled.strip('"'))
        assert reading(parser, sensors(spelled)).values[0] == number
        assert reading(parser, spelled, "panel/P1/ampere").values == (number, None)


@pytest.mark.parametrize(
    "text", ["1e23", "1.7976931348623157e308", "9.9999999999999992e22", "-1.5e300"]
)
def test_a_number_with_an_exponent_has_the_digits_that_were_sent(text: str, parser: Parser) -> None:
    assert reading(parser, sensors(text)).values[0] == float(text)


@settings(deadline=None)
@example(whole=2**53)
@example(whole=2**53 + 1)
@given(whole=st.integers(-(2**70), 2**70))
def test_a_whole_number_is_stored_exactly_or_set_aside(whole: int, parser: Parser) -> None:
    if int(float(whole)) == whole:
        value = reading(parser, payload(temperature=whole)).values[0]
        assert isinstance(value, float)
        assert Decimal(value) == whole
    else:
        assert rejection(parser, payload(temperature=whole))[0] == "number_not_exact"
