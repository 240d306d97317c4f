"""InfluxDB's line protocol: each line is a reading, with its tags, and numbers as they are written."""

from typing import Any

import line_protocol_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.payload_shape import PayloadShape
from tests.formats import BAD, document, refused, spelling

INFLUX = PayloadShape(format="influx")


def fields_of(text: str) -> Any:
    return document(INFLUX, f"m {text}")["fields"]


def test_a_line_has_measurement_tags_fields_and_time() -> None:
    assert document(INFLUX, "cpu,host=nas1,core=0 user=7.5,procs=12i 1759163270000000001") == {
        "user": 7.5,
        "procs": 12,
        "fields": {"user": 7.5, "procs": 12},
        "measurement": "cpu",
        "tags": {"host": "nas1", "core": "0"},
        "timestamp": 1759163270000000001,
    }


def test_a_line_without_tags_and_time() -> None:
    plain = {"measurement": "m", "tags": {}, "x": 1, "fields": {"x": 1}}
    assert document(INFLUX, "m x=1") == plain


def test_fields_with_a_name_of_the_line_itself_are_in_fields() -> None:
    fields = {"tags": 1, "timestamp": 2, "measurement": 3, "fields": 4}
    written = ",".join(f"{name}={value}" for name, value in fields.items())
    assert document(INFLUX, f"m {written}") == {"measurement": "m", "tags": {}, "fields": fields}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12i", 12),
        ("-9223372036854775808i", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ("9007199254740993", 9007199254740993),
        ("80", 80),
        ("-1.5e3", -1500.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        *((word, True) for word in ("t", "T", "true", "True", "TRUE")),
        *((word, False) for word in ("f", "F", "false", "False", "FALSE")),
        ('"on"', "on"),
        ('""', ""),
        ('"run, fast = ok"', "run, fast = ok"),
        (r'"say \"hi\", C:\temp\\"', 'say "hi", C:\\temp\\'),
    ],
)
def test_a_value_is(written: str, value: Any) -> None:
    found = fields_of(f"x={written}")["x"]
    assert (found, isinstance(found, bool)) == (value, isinstance(value, bool))


def test_a_fraction_keeps_its_spelling() -> None:
    assert spelling(fields_of("x=0.10")["x"]) == "0.10"


@pytest.mark.parametrize(
    ("line", "measurement", "tags"),
    [
        (r"a\ b\,c=d x=1", "a b,c=d", {}),
        (r"a,b\ c=d\,e,f\=g=h x=1", "a", {"b c": "d,e", "f=g": "h"}),
        (r"a\b,c\d=e\f x=1", "a\\b", {"c\\d": "e\\f"}),
        ('a"b,c"="d" x=1', 'a"b', {'c"': '"d"'}),
    ],
)
def test_names_may_have_any_character(line: str, measurement: str, tags: dict[str, str]) -> None:
    found = document(INFLUX, line)
    assert (found["measurement"], found["tags"]) == (measurement, tags)


def test_blank_lines_and_comments_are_no_readings() -> None:
    found = document(INFLUX, "# of today\r\n\r\nm x=1\r\n  # more\nm x=2 5 \n")
    assert [(one["x"], one.get("timestamp")) for one in found] == [(1, None), (2, 5)]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("m", "column 2: expected a space before the fields, not the end of the line"),
        (",a=b x=1", "column 1: expected the name of a measurement, not ,a=b x=1"),
        ("m,a x=1", "column 4: expected =, not  x=1"),
        ("m,a= x=1", "column 5: expected the value of the tag, not  x=1"),
        ("m,a=1,a=2 x=1", "column 7: expected each tag once, not a=2 x=1"),
        ("m x", "column 4: expected =, not the end of the line"),
        ("m x=1,", "column 7: expected the name of a field, not the end of the line"),
        ("m x=1,x=2", "column 7: expected each field once, not x=2"),
        ('m x="a', 'column 5: expected a closing quote, not "a'),
        ('m x="a"b', "column 8: expected a space before the time, not b"),
        *(
            (
                f"m x={word}",
                f'column 5: expected a value such as 21.5, 12i, true or "text", not {word}',
            )
            for word in ("abc", "NaN", "inf", "1_0", "12j", "tRUE", "٣")
        ),
        ("m x=1 1.5", "column 7: expected a time as a whole number, not 1.5"),
        ("m x=1 5 6", "column 7: expected a time as a whole number, not 5 6"),
    ],
)
def test_a_bad_line_costs_no_other(bad: str, text: str) -> None:
    good = document(INFLUX, "m x=1")
    assert document(INFLUX, f"m x=1\n{bad}\nm x=1") == [good, f"{BAD}line 2, {text}", good]
    assert refused(INFLUX, bad) == ("invalid_influx", f"line 1, {text}")


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        ("# nothing", ("empty_payload", "the payload has no reading")),
        ('m x="\0"', ("invalid_text", "byte 5 is a NUL character, which cannot be stored")),
        (b'm x="\xff"', ("invalid_utf8", "byte 5 is not valid UTF-8")),
        ("#\n" * 20_000, ("too_large", "20000 lines or records; at most 10000 are allowed")),
    ],
)
def test_a_payload_is_refused(payload: str | bytes, refusal: tuple[str, str]) -> None:
    assert refused(INFLUX, payload) == refusal


letters = st.sampled_from('ab ,=\\"ä1#')
names = st.text(letters, min_size=1, max_size=6).filter(
    # What the protocol does not define: a backslash before what has to be escaped.
    lambda name: (
        not name.endswith("\\") and not {"\\ ", "\\,", "\\="} & {name[i : i + 2] for i in range(5)}
    )
)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.text(letters),
)


def _escaped(name: str, special: str) -> str:
    return "".join(f"\\{one}" if one in special else one for one in name)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "f"
    if isinstance(value, str):
        return f'"{_escaped(value, chr(34) + chr(92))}"'
    return f"{value}i" if isinstance(value, int) else repr(value)


@given(
    names.filter(lambda name: not name.startswith(("#", " "))),
    st.dictionaries(names, names, max_size=3),
    st.dictionaries(names, values, min_size=1, max_size=3),
    st.none() | st.integers(-(2**62), 2**62),
)
def test_it_reads_what_another_parser_reads(
    measurement: str, tags: dict[str, str], fields: dict[str, Any], time: int | None
) -> None:
    line = _escaped(measurement, ", ")
    line += "".join(f",{_escaped(name, ',= ')}={_escaped(tags[name], ',= ')}" for name in tags)
    line += " " + ",".join(f"{_escaped(name, ',= ')}={_written(fields[name])}" for name in fields)
    line += "" if time is None else f" {time}"
    found = document(INFLUX, line)
    ours = {name: found.get(name) for name in ("measurement", "tags", "fields", "timestamp")}
    assert ours == {"measurement": measurement, "tags": tags, "fields": fields, "timestamp": time}
    other = line_protocol_parser.parse_line(line)
    assert [*ours.values()] == [other[key] for key in ("measurement", "tags", "fields", "time")]
