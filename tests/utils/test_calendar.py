"""Local time: hours and shifts of a time zone, on ordinary days and when the clocks are changed."""

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from utils import calendar
from utils.calendar import Span, Timeline

BERLIN = calendar.zone("Europe/Berlin")
KOLKATA = calendar.zone("Asia/Kolkata")


def utc(text: str) -> datetime:
    """A naive UTC time."""
    return datetime.fromisoformat(text)


def span(start: str, end: str) -> Span:
    """A time from start until end, in UTC."""
    return Span(utc(start), utc(end))


def local_day(day: str, zone: str) -> Span:
    """The 24 hours, more or less, of a day in a zone."""
    place, first = calendar.zone(zone), date.fromisoformat(day)
    return Span(
        calendar.at(first, time(), place), calendar.at(first + timedelta(days=1), time(), place)
    )


# Zones


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "europe", "../etc/passwd", "/etc/passwd", "A\0B", "x" * 300]
)
def test_a_zone_that_is_none_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"there is no time zone .*; expected a name such as Asia/Jakarta or UTC"
    ):
        calendar.zone(name)


@pytest.mark.parametrize(
    ("variable", "link", "expected"),
    [
        ("", "/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("Asia/Kolkata", "/usr/share/zoneinfo/Europe/Berlin", "Asia/Kolkata"),
        (":/usr/share/zoneinfo/Asia/Kolkata", "", "Asia/Kolkata"),
        ("CET-1CEST,M3.5.0,M10.5.0", "/usr/share/zoneinfo/Europe/Berlin", None),
        ("", "/somewhere/a-copy", None),
    ],
)
def test_the_zone_of_the_server_is_in_its_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str, link: str, expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / "localtime").symlink_to(link or tmp_path / "none")
    monkeypatch.setattr(calendar, "LOCAL_TIME", str(tmp_path / "localtime"))
    monkeypatch.setenv("TZ", variable)
    found = calendar.of_server()
    assert (found and found.key) == expected


def test_local_is_what_the_clocks_show_with_the_offset() -> None:
    assert (
        calendar.local(utc("2026-07-01T22:30"), BERLIN).isoformat() == "2026-07-02T00:30:00+02:00"
    )
    assert (
        calendar.local(utc("2026-07-01T22:30"), KOLKATA).isoformat() == "2026-07-02T04:00:00+05:30"
    )


@pytest.mark.parametrize(
    ("day", "clock_time", "moment"),
    [
        ("2026-01-29", "06:00", "2026-01-29T05:00"),
        ("2026-07-29", "06:00", "2026-07-29T04:00"),
        ("2026-10-25", "02:30", "2026-10-25T00:30"),  # of the two the first
        ("2026-10-25", "03:00", "2026-10-25T02:00"),
        (
            "2026-03-29",
            "02:30",
            "2026-03-29T01:30",
        ),  # left out: 2½ hours after midnight, when the clocks show 03:30
    ],
)
def test_at_is_when_the_clocks_show_a_time(day: str, clock_time: str, moment: str) -> None:
    assert calendar.at(date.fromisoformat(day), time.fromisoformat(clock_time), BERLIN) == utc(
        moment
    )


# Hours


@pytest.mark.parametrize(
    ("zone", "moment", "following"),
    [
        ("UTC", "2026-01-29T12:00", "2026-01-29T13:00"),
        ("UTC", "2026-01-29T12:59:59.999999", "2026-01-29T13:00"),
        ("UTC", "2026-12-31T23:15", "2027-01-01T00:00"),
        ("Asia/Kolkata", "2026-01-29T12:00", "2026-01-29T12:30"),  # 17:30 → 18:00
        ("Asia/Kathmandu", "2026-01-29T12:00", "2026-01-29T12:15"),  # 17:45 → 18:00
        ("Europe/Berlin", "2026-03-29T00:20", "2026-03-29T01:00"),  # 01:20 → 03:00 in summer
        (
            "Europe/Berlin",
            "2026-10-25T00:20",
            "2026-10-25T01:00",
        ),  # 02:20 in summer → 02:00 in winter
        ("Europe/Berlin", "2026-10-25T01:20", "2026-10-25T02:00"),  # 02:20 in winter → 03:00
        (
            "Australia/Lord_Howe",
            "2026-10-03T15:00",
            "2026-10-03T15:30",
        ),  # 01:30 → 02:30, for it moves half an hour
        ("Australia/Lord_Howe", "2026-10-03T15:30", "2026-10-03T16:00"),  # 02:30 → 03:00
        ("Pacific/Chatham", "2026-09-26T13:20", "2026-09-26T14:00"),  # 02:05 → at 02:45 it is 03:45
        ("Pacific/Chatham", "2026-09-26T14:00", "2026-09-26T14:15"),  # 03:45 → 04:00
        ("Asia/Pyongyang", "2018-05-04T14:40", "2018-05-04T15:00"),  # 23:10 → at 23:30 it is 00:00
        (
            "America/St_Johns",
            "2010-03-14T03:30:30",
            "2010-03-14T03:31",
        ),  # 00:00:30 → at 00:01 it is 01:01
        ("America/Caracas", "2007-12-09T06:10", "2007-12-09T07:00"),  # 02:10 → at 03:00 it is 02:30
    ],
)
def test_the_next_hour_begins_when_the_clocks_say_so(
    zone: str, moment: str, following: str
) -> None:
    assert calendar.next_hour(utc(moment), calendar.zone(zone)) == utc(following)


@pytest.mark.parametrize(
    ("zone", "day", "count"),
    [
        ("UTC", "2026-03-29", 24),
        ("Asia/Kolkata", "2026-03-29", 24),
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/Santiago", "2026-09-06", 23),  # the day begins at 01:00
    ],
)
def test_a_day_has_as_many_hours_as_the_clocks_show(zone: str, day: str, count: int) -> None:
    hours = list(calendar.hours(local_day(day, zone), calendar.zone(zone)))
    assert [hour.seconds for hour in hours] == [3600.0] * count
    assert {calendar.local(hour.start, calendar.zone(zone)).date() for hour in hours} == {
        date.fromisoformat(day)
    }


def test_hours_follow_each_other_and_the_first_and_the_last_are_clipped() -> None:
    # 17:40 to 19:10 in Kolkata
    assert list(calendar.hours(span("2026-01-29T12:10", "2026-01-29T13:40"), KOLKATA)) == [
        span("2026-01-29T12:10", "2026-01-29T12:30"),
        span("2026-01-29T12:30", "2026-01-29T13:30"),
        span("2026-01-29T13:30", "2026-01-29T13:40"),
    ]


def test_a_span_within_an_hour_is_a_part_of_it() -> None:
    within = span("2026-01-29T12:10", "2026-01-29T12:20")
    assert list(calendar.hours(within, BERLIN)) == [within]


# Shifts


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("06:00-14:00", time(6), time(14)),
        ("22:00-06:00", time(22), time(6)),
        ("16:30-24:00", time(16, 30), time(0)),
        ("00:00-24:00", time(0), time(0)),
        ("22:15-00:00", time(22, 15), time(0)),
    ],
)
def test_a_shift_is_read(text: str, start: time, end: time) -> None:
    assert calendar.shift(text) == (start, end)


@pytest.mark.parametrize(
    "text",
    ["", "6-14", "06:00", "6:00-14:00", "06:00-14:60", "06:00-25:00", "24:00-06:00", "06:00-24:01", "06:00-06:00",
     "00:00-00:00", "06:00–14:00", "06:00-14:00 ", "06:00-14:00\n", "٠٦:00-14:00", "14:00-06:00-07:00"],
)  # fmt: skip
def test_a_bad_shift_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"not hours of the day: .*such as 06:00-14:00"):
        calendar.shift(text)


@pytest.mark.parametrize(
    ("shift", "within", "parts"),
    [
        # In winter 06:00 in Berlin is 05:00 UTC.
        ("06:00-14:00", ("2026-01-29T00:00", "2026-01-31T00:00"),
         [("2026-01-29T05:00", "2026-01-29T13:00"), ("2026-01-30T05:00", "2026-01-30T13:00")]),
        ("06:00-14:00", ("2026-01-29T06:00", "2026-01-30T06:30"),
         [("2026-01-29T06:00", "2026-01-29T13:00"), ("2026-01-30T05:00", "2026-01-30T06:30")]),
        # Over midnight: of the night before the window, of the night within it, of the one that goes on after it.
        ("22:00-06:00", ("2026-01-29T00:00", "2026-01-30T22:00"),
         [("2026-01-29T00:00", "2026-01-29T05:00"), ("2026-01-29T21:00", "2026-01-30T05:00"),
          ("2026-01-30T21:00", "2026-01-30T22:00")]),
        ("16:00-24:00", ("2026-01-29T00:00", "2026-01-30T00:00"), [("2026-01-29T15:00", "2026-01-29T23:00")]),
        ("00:00-24:00", ("2026-01-29T12:00", "2026-01-30T12:00"),
         [("2026-01-29T12:00", "2026-01-29T23:00"), ("2026-01-29T23:00", "2026-01-30T12:00")]),
        ("06:00-14:00", ("2026-01-29T14:00", "2026-01-29T16:00"), []),
        # Spring: 22:00 is 21:00 UTC, 06:00 on the day after is 04:00 UTC: 7 hours. Autumn: 20:00 to 05:00, 9 hours.
        ("22:00-06:00", ("2026-03-28T12:00", "2026-03-29T12:00"), [("2026-03-28T21:00", "2026-03-29T04:00")]),
        ("22:00-06:00", ("2026-10-24T12:00", "2026-10-25T12:00"), [("2026-10-24T20:00", "2026-10-25T05:00")]),
        # Hours that the clocks show twice are two, and hours that they leave out begin after they are changed.
        ("02:00-03:00", ("2026-10-24T12:00", "2026-10-25T12:00"), [("2026-10-25T00:00", "2026-10-25T02:00")]),
        ("02:30-03:15", ("2026-03-28T12:00", "2026-03-29T12:00"), []),
    ],
)  # fmt: skip
def test_a_shift_is_when_the_clocks_show_its_hours(
    shift: str, within: tuple[str, str], parts: list[tuple[str, str]]
) -> None:
    assert list(calendar.shift(shift).within(span(*within), BERLIN)) == [
        span(*part) for part in parts
    ]


def test_a_shift_in_a_zone_with_half_an_hour_begins_at_the_half_hour() -> None:
    # 06:00 in Kolkata is 00:30 UTC.
    parts = calendar.shift("06:00-14:00").within(
        span("2026-01-29T00:00", "2026-01-30T00:00"), KOLKATA
    )
    assert list(parts) == [span("2026-01-29T00:30", "2026-01-29T08:30")]


def test_a_day_that_a_zone_left_out_counts_once() -> None:
    """Samoa had no 30 December 2011: after the 29th, ten hours behind UTC, came the 31st, fourteen before it."""
    apia = calendar.zone("Pacific/Apia")
    parts = calendar.shift("06:00-14:00").within(span("2011-12-29T10:00", "2011-12-31T10:00"), apia)
    # 06:00 on the 29th is 16:00 UTC; 06:00 on the 31st is 16:00 UTC on the 30th.
    assert list(parts) == [
        span("2011-12-29T16:00", "2011-12-30T00:00"),
        span("2011-12-30T16:00", "2011-12-31T00:00"),
    ]


# Timelines


def test_a_timeline_cuts_stretches_at_the_borders_of_its_spans() -> None:
    timeline = Timeline(
        [span("2026-01-29T00:00", "2026-01-29T01:00"), span("2026-01-29T01:00", "2026-01-29T02:00"),
         span("2026-01-29T05:00", "2026-01-29T06:00")]
    )  # fmt: skip
    cut = [
        list(timeline.parts(span(f"2026-01-{start}", f"2026-01-{end}")))
        for start, end in (
            ("28T22:00", "29T00:00"),  # until the first begins
            ("29T00:30", "29T01:30"),
            ("29T01:30", "29T05:30"),
            ("29T05:30", "29T05:30"),
            ("29T05:30", "29T06:00"),
            ("29T06:00", "29T10:00"),
        )
    ]
    assert cut[0] == cut[5] == []
    assert cut[1] == [
        (0, span("2026-01-29T00:30", "2026-01-29T01:00")),
        (1, span("2026-01-29T01:00", "2026-01-29T01:30")),
    ]
    assert cut[2] == [
        (1, span("2026-01-29T01:30", "2026-01-29T02:00")),
        (2, span("2026-01-29T05:00", "2026-01-29T05:30")),
    ]
    assert sum(part.seconds for _, part in cut[3]) == 0
    assert cut[4] == [(2, span("2026-01-29T05:30", "2026-01-29T06:00"))]


def test_a_span_is_widened_on_either_side() -> None:
    assert span("2026-01-29T01:00", "2026-01-29T02:00").widened(900) == span(
        "2026-01-29T00:45", "2026-01-29T02:15"
    )
