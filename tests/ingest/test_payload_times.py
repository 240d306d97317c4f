"""Parsing: which time a reading gets, the device's or the server's."""

from datetime import datetime, timedelta

import pytest

from ingest.payload import Parser
from tests.parsing import MOMENT, RECEIVED, SECOND, reading, rejection, sensors


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param('"2026-01-29T14:30:45"', SECOND, id="naive is UTC"),
        pytest.param('"2026-01-29T14:30:45.123456Z"', MOMENT, id="Z"),
        pytest.param('"2026-01-29T15:30:45+01:00"', SECOND, id="an offset is converted"),
        pytest.param('"2026-01-29 14:30:45"', SECOND, id="a space for the T"),
        pytest.param("1769697045", SECOND, id="seconds"),
        pytest.param("1769697045.123456", MOMENT, id="seconds with a fraction"),
        pytest.param("1769697045123", SECOND + timedelta(milliseconds=123), id="ms"),
        pytest.param("1769697045123456", MOMENT, id="µs"),
        pytest.param("1769697045123456000", MOMENT, id="ns"),
        pytest.param('"1769697045123456000"', MOMENT, id="ns as text"),
        pytest.param("1769697045123455999", MOMENT, id="the nearest microsecond"),
        pytest.param("20260129143045", SECOND, id="compact, as a number"),
        pytest.param('"20260129143045"', SECOND, id="compact"),
        pytest.param('"20260129T143045Z"', SECOND, id="compact, with a T"),
        pytest.param('"20260129143045.123456"', MOMENT, id="compact, with a fraction"),
        *(
            pytest.param(f'"{text}"', MOMENT, id=f"the nearest microsecond: {text}")
            for text in (
                *(
                    "2026-01-29T14:30:45.1234555Z",
                    "20260129T143045.1234555Z",
                    "20260129143045.1234555",
                ),
                *(
                    "2026-01-29T14:30:45,1234555Z",
                    "2026-01-29T14:30:45.12345649999",
                    "20260129T153045,1234555+0100",
                ),
            )
        ),
        pytest.param(
            '"20260129T143044.9999995Z"', SECOND, id="the nearest microsecond is in the next second"
        ),
        pytest.param(
            '"2025-12-31T23:59:60.9999999Z"',
            datetime(2026, 1, 1, 0, 0, 1),
            id="within a leap second",
        ),
        pytest.param(
            "20260129143045123",
            SECOND + timedelta(milliseconds=123),
            id="compact, with milliseconds",
        ),
        pytest.param('"20260129153045+0100"', SECOND, id="compact, with an offset"),
        pytest.param("202601291430", datetime(2026, 1, 29, 14, 30), id="compact, without seconds"),
        pytest.param(
            '"2025-12-31T23:59:60Z"', datetime(2026, 1, 1), id="a leap second is the next one"
        ),
        pytest.param('"2026-01-28T24:00:00"', datetime(2026, 1, 29), id="the end of a day"),
        pytest.param(
            '"2026-01-28T24:00:00.000+01:00"',
            datetime(2026, 1, 28, 23),
            id="the end of a day elsewhere",
        ),
        pytest.param(
            "20260128240000", datetime(2026, 1, 29), id="the end of a day, compact, as a number"
        ),
        pytest.param('"1769697045"', SECOND, id="seconds as text"),
        pytest.param("1.769697045e9", SECOND, id="an exponent"),
        *(
            pytest.param(f'"{text}"', SECOND, id=f"as the number: {text}")
            for text in (
                *(
                    "1.769697045e9",
                    "1.769697045E+9",
                    "1769697045e0",
                    "1769697045.0",
                    "1769697045.",
                    "+1769697045",
                ),
                *("2.0260129143045e13", "20260129143045.0", "20260129143045."),
            )
        ),
        pytest.param(
            "20260129143045.5",
            SECOND + timedelta(milliseconds=500),
            id="compact, a number with a fraction",
        ),
        pytest.param(
            '"20260129143045.5"',
            SECOND + timedelta(milliseconds=500),
            id="compact, the same as text",
        ),
        *(
            pytest.param(f'"{text}"', SECOND, id=f"white space: {text!r}")
            for text in (
                *(
                    " 1769697045 ",
                    "2026-01-29T14:30:45 ",
                    "\\t2026-01-29T14:30:45Z\\n",
                    " 1.769697045e9 ",
                ),
                *("20260129143045 ", " 2026-01-29 14:30:45"),
            )
        ),
        pytest.param('"1769697045123"', SECOND + timedelta(milliseconds=123), id="ms as text"),
        pytest.param("1577836800", datetime(2020, 1, 1), id="the first moment that is believed"),
        pytest.param(
            '"2026-01-29T14:35:46"',
            RECEIVED + timedelta(minutes=5),
            id="the last moment that is believed",
        ),
    ],
)
def test_the_devices_time_is_believed(text: str, moment: datetime, parser: Parser) -> None:
    for more in ("", ',"x":"\\u0041"'):
        read = reading(parser, sensors(timestamp=text, more=more))
        assert (read.timestamp, read.device_timestamp, read.own_time) == (moment, None, True)


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        pytest.param("0", "0", id="1970"),
        pytest.param("42.5", "42.5", id="seconds since the start"),
        pytest.param("-1", "-1", id="before 1970"),
        pytest.param(
            '"2019-12-31T23:59:59.999999"', "2019-12-31T23:59:59.999999Z", id="before 2020"
        ),
        pytest.param(
            '"2000-01-01T00:00:07"',
            "2000-01-01T00:00:07.000000Z",
            id="a clock whose battery was changed",
        ),
        pytest.param(
            '"2026-01-29T14:35:46.000001"', "2026-01-29T14:35:46.000001Z", id="over 5 minutes ahead"
        ),
        pytest.param(
            '"2036-02-07T06:28:16+01:00"', "2036-02-07T05:28:16.000000Z", id="years ahead"
        ),
        pytest.param('"2026-01-29"', "2026-01-29", id="a date"),
        pytest.param('"20260129"', "20260129", id="a date without hyphens"),
        pytest.param("20260129", "20260129", id="a date as a number"),
        pytest.param('" 2026-01-29 "', " 2026-01-29 ", id="a date and white space"),
        pytest.param('"4.0"', "4.0", id="seconds since the start as text"),
        pytest.param("2026", "2026", id="a year as a number"),
        pytest.param('"2026"', "2026", id="a year as text"),
        pytest.param("1262304000", "1262304000", id="seconds of 2010"),
        pytest.param("1.262304e9", "1262304000.0", id="seconds of 2010 with an exponent"),
        pytest.param('" 1.262304e9 "', " 1.262304e9 ", id="the same as text"),
        pytest.param("20100101000000", "20100101000000", id="2010, compact"),
        pytest.param("4294967295", "4294967295", id="the last of 32 bits"),
        pytest.param("1769697946", "2026-01-29T14:45:46.000000Z", id="seconds, minutes ahead"),
        pytest.param('"2026-01-29Z"', "2026-01-29Z", id="a date with an offset"),
        pytest.param('"2026-W05-4"', "2026-W05-4", id="a day of a week"),
        pytest.param('"2026-W05"', "2026-W05", id="a week"),
        pytest.param('"2026-029"', "2026-029", id="a day of the year"),
        pytest.param('"2026-01"', "2026-01", id="a month"),
        *(
            pytest.param(f'"{text}"', text, id=f"an hour: {text}")
            for text in (
                *(
                    "2026-01-29T14",
                    "2026-01-29 14",
                    "20260129T14",
                    "2026-01-29T14Z",
                    "2026-01-29T14+01:00",
                ),
                *("2026-01-29T14-05", "20260129T14+0530", "2026-W05-4T14", "2026W054T14"),
            )
        ),
        pytest.param(
            '"0001-01-01T00:00:00"', "0001-01-01T00:00:00.000000Z", id="the first time of .NET"
        ),
        pytest.param(
            '"0001-01-01T00:00:00+01:00"', "0001-01-01T00:00:00+01:00", id="before the year 1"
        ),
        pytest.param(
            '"9999-12-31T23:59:59-05:00"', "9999-12-31T23:59:59-05:00", id="after the year 9999"
        ),
        pytest.param(
            '"9999-12-31T23:59:59.9999999"',
            "9999-12-31T23:59:59.9999999",
            id="the last time of .NET",
        ),
        pytest.param(
            '"99991231T235959-0500"', "99991231T235959-0500", id="after the year 9999, compact"
        ),
    ],
)
def test_an_unbelievable_time_is_kept_beside_the_servers(
    text: str, claimed: str, parser: Parser
) -> None:
    for more in ("", ',"x":"\\u0041"'):
        read = reading(parser, sensors(timestamp=text, more=more))
        assert (read.timestamp, read.device_timestamp, read.own_time) == (RECEIVED, claimed, False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            '"2026-02-30T00:00:00"', 'not a time: "2026-02-30T00:00:00"', id="30 February"
        ),
        pytest.param(
            '"2026-01-29T14:30:60"', 'not a time: "2026-01-29T14:30:60"', id="a 60th second"
        ),
        pytest.param('"2026-02-30"', 'not a time: "2026-02-30"', id="a date that is none"),
        pytest.param('"2026-01-29T25"', 'not a time: "2026-01-29T25"', id="an hour that is none"),
        pytest.param('"20260230143045"', 'not a time: "20260230143045"', id="30 February, compact"),
        pytest.param(
            "20260230143045", 'not a time: "20260230143045"', id="30 February, as a number"
        ),
        pytest.param('"yesterday"', 'not a time: "yesterday"', id="a word"),
        pytest.param('""', 'not a time: ""', id="an empty text"),
        pytest.param('" "', 'not a time: ""', id="white space"),
        pytest.param('"1e400"', "outside the years 1 to 9999", id="1e400 as text"),
        pytest.param("true", "not a time: true", id="a boolean"),
        pytest.param("[1769697045]", "not a time: [1769697045]", id="a list"),
        pytest.param("1e300", "outside the years 1 to 9999", id="1e300"),
        pytest.param("1" * 400, "outside the years 1 to 9999", id="400 digits"),
    ],
)
def test_a_time_that_is_none_is_rejected_where_it_is_required_and_kept_where_not(
    text: str, sentence: str, parser: Parser
) -> None:
    for more in ("", ',"x":"\\u0041"'):
        parsed = rejection(parser, sensors(timestamp=text, more=more))
        assert parsed == ("invalid_timestamp", f"timestamp: {sentence}")
        read = reading(parser, f'{{"level":1,"ts":{text}{more}}}', "tank/T1")
        assert (read.timestamp, read.own_time, read.values) == (RECEIVED, False, (1.0, None))
        is_blank = not text.strip('" ')
        assert (read.device_timestamp is None) is is_blank
        assert len(read.device_timestamp or "") <= 64


@pytest.mark.parametrize(
    ("topic", "text", "expected"),
    [
        pytest.param("tank/T1", '{"level":1}', (RECEIVED, None, False), id="absent: the server's"),
        pytest.param(
            "tank/T1", '{"level":1,"ts":1769697045}', (SECOND, None, True), id="another field"
        ),
        pytest.param(
            "tank/T1", '{"level":1,"timestamp":1}', (RECEIVED, None, False), id="only that field"
        ),
        pytest.param(
            "tank/T1", '{"level":1,"ts":null}', (RECEIVED, None, False), id="null is none"
        ),
        pytest.param(
            "tank/T1",
            '{"level":1,"ts":null,"x":"é"}',
            (RECEIVED, None, False),
            id="null, not ASCII",
        ),
        *(
            pytest.param(
                "tank/T1", f'{{"level":1,"ts":{blank}}}', (RECEIVED, None, False), id=blank
            )
            for blank in ('""', '" "', '"\\t\\n"', '"\\u00a0"')
        ),
        pytest.param("tank/T1", '{"level":1,"ts":NaN}', (RECEIVED, None, False), id="NaN is none"),
        pytest.param(
            "panel/P1/ampere",
            '{"value":1,"timestamp":null}',
            (RECEIVED, None, False),
            id="null, of a value",
        ),
        pytest.param(
            "panel/P1/ampere", "12.5", (RECEIVED, None, False), id="a bare value has none"
        ),
        pytest.param(
            "panel/P1/ampere",
            '{"value":1,"timestamp":1769697045}',
            (SECOND, None, True),
            id="beside a value",
        ),
        pytest.param(
            "soil/data",
            '{"sensor_readings":{"N":1},"timestamp":1769697045}',
            (SECOND, None, True),
            id="not nested",
        ),
    ],
)
def test_an_optional_time(
    topic: str, text: str, expected: tuple[object, ...], parser: Parser
) -> None:
    read = reading(parser, text, topic)
    assert (read.timestamp, read.device_timestamp, read.own_time) == expected


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ('"yesterday"', "yesterday"),
        ('"a\\nb"', "a\\u000ab"),
        ("true", "true"),
        ("1e400", "1e400"),
        ("1e300", "1e+300"),
        ('"' + "x" * 99 + '"', "x" * 64),
    ],
)
def test_what_a_device_said_instead_of_a_time_is_kept_as_it_said_it(
    text: str, claimed: str, parser: Parser
) -> None:
    assert reading(parser, f'{{"level":1,"ts":{text}}}', "tank/T1").device_timestamp == claimed


def test_null_is_rejected_where_a_time_is_required(parser: Parser) -> None:
    assert rejection(parser, sensors(timestamp="null")) == (
        "invalid_timestamp",
        "timestamp: not a time: null",
    )


def test_a_time_cannot_write_a_line_into_the_log(parser: Parser) -> None:
    _, sentence = rejection(parser, sensors(timestamp='"x\\n2026-11-21 FORGED"'))
    assert sentence == 'timestamp: not a time: "x\\u000a2026-11-21 FORGED"'
