"""Time: what comes in becomes naive UTC, what goes out is RFC 3339 with `Z`."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import PROJECT
from utils import clock, query_times

MOMENT = datetime(2026, 1, 29, 14, 30, 45, 123456)
SECOND = datetime(2026, 1, 29, 14, 30, 45)
MOMENTS = st.datetimes()
# Where seconds, ms, µs and ns cannot be confused: before 1973 a number of ms is as small as one of seconds.
EPOCH_MOMENTS = st.datetimes(min_value=datetime(1974, 1, 1), max_value=datetime(2100, 1, 1))
OFFSETS = st.integers(min_value=-14 * 60, max_value=14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2026-01-29T14:30:45.123456", MOMENT, id="naive means UTC"),
        pytest.param("2026-01-29T14:30:45.123456Z", MOMENT, id="Z"),
        pytest.param("2026-01-29T14:30:45", SECOND, id="whole seconds"),
        pytest.param("2026-01-29 14:30:45", SECOND, id="a space for the T"),
        pytest.param("2026-01-29T16:30:45+02:00", SECOND, id="east of Greenwich"),
        pytest.param("2026-01-29T09:00:45-0530", SECOND, id="west of Greenwich, without the colon"),
        pytest.param("2026-01-29T14:30", datetime(2026, 1, 29, 14, 30), id="without seconds"),
        pytest.param("2026-01-29", datetime(2026, 1, 29), id="a date is its midnight"),
        pytest.param("20260129", datetime(2026, 1, 29), id="a date without hyphens"),
        pytest.param("20260129143045", SECOND, id="a compact time"),
        pytest.param(
            "1769697045123456789",
            MOMENT + timedelta(microseconds=1),
            id="epoch nanoseconds as text",
        ),
        pytest.param(
            "1712010112345678",
            datetime(2024, 4, 1, 22, 21, 52, 345678),
            id="µs that look like a date",
        ),
        pytest.param(
            "1901010000000000000", datetime(2030, 3, 29, 10, 20), id="ns that look like a date"
        ),
        pytest.param(
            "200000000000", datetime(1976, 5, 3, 19, 33, 20), id="ms that look like a date"
        ),
        pytest.param("2016-12-31T23:59:60Z", datetime(2017, 1, 1), id="a leap second"),
        pytest.param(
            "2016-12-31T23:59:60.5",
            datetime(2017, 1, 1, 0, 0, 0, 500_000),
            id="within a leap second",
        ),
        pytest.param(
            "2017-01-01T05:29:60+05:30", datetime(2017, 1, 1), id="a leap second elsewhere"
        ),
        pytest.param("20161231235960", datetime(2017, 1, 1), id="a leap second, compact"),
        pytest.param("2026-01-29T24:00:00", datetime(2026, 1, 30), id="the end of a day"),
        pytest.param(
            "2026-01-31T24:00", datetime(2026, 2, 1), id="the end of a month, without seconds"
        ),
        pytest.param(
            "2024-12-31 24:00:00.000Z",
            datetime(2025, 1, 1),
            id="the end of a year, with a zero fraction",
        ),
        pytest.param(
            "2024-02-28T24:00:00,0", datetime(2024, 2, 29), id="the end of a day, with a comma"
        ),
        pytest.param(
            "2026-01-29T24:00:00+05:30",
            datetime(2026, 1, 29, 18, 30),
            id="the end of a day elsewhere",
        ),
        pytest.param(
            "2026-01-29T24:00-0800", datetime(2026, 1, 30, 8), id="the end of a day in the west"
        ),
        pytest.param("20260129240000", datetime(2026, 1, 30), id="the end of a day, compact"),
        pytest.param(
            "202601292400", datetime(2026, 1, 30), id="the end of a day, compact, without seconds"
        ),
        pytest.param(
            "20260129240000Z", datetime(2026, 1, 30), id="the end of a day, compact, with a zone"
        ),
        pytest.param(
            "20260129240000000",
            datetime(2026, 1, 30),
            id="the end of a day, compact, with thousandths",
        ),
        pytest.param(
            "20260129T240000+01:00",
            datetime(2026, 1, 29, 23),
            id="the end of a day, without hyphens",
        ),
        pytest.param("1769697045", SECOND, id="epoch seconds as text"),
        pytest.param("1769697045.123456", MOMENT, id="epoch seconds with a fraction as text"),
        pytest.param(
            "1769697045123", SECOND + timedelta(milliseconds=123), id="epoch milliseconds as text"
        ),
    ],
)
def test_it_reads(text: str, moment: datetime) -> None:
    assert clock.parse(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "now",
        "2026-01-29T14:30:60",
        "20260230143045",
        "2026-01-29T24:00:01",
        "2026-01-29T24:30",
        "2026-01-29T24:00:00.000001",
        "2026-01-29T24",
        "2026-01-29T24:0000",
        "2026-01-29T25:00:00",
        "2026-02-30T24:00:00",
        "2026-01-29T24:00:60",
        "9999-12-31T24:00:00",
        "20260129240001",
        "24:00",
        "2026-02-30T00:00:00",
        "2026-13-01",
        "14:30",
        "1_769_697_045",
        "١٧٦٩٦٩٧٠٤٥",
        "NaN",
        "1e9",
    ],
)
def test_it_says_that_a_text_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a time: ") as caught:
        clock.parse(text)
    assert str(caught.value) == f'not a time: "{text}"'


def test_it_shows_at_most_40_characters_of_what_is_not_a_time() -> None:
    with pytest.raises(ValueError, match=r"not a time") as caught:
        clock.parse("x" * 5000)
    assert str(caught.value) == f'not a time: "{"x" * 40}"'


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_it_says_that_an_offset_leads_off_the_calendar(text: str) -> None:
    with pytest.raises(clock.OffTheCalendar, match=r"^outside the years 1 to 9999$"):
        clock.parse(text)


@settings(deadline=None)
@given(st.text())
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    for read in (clock.parse, query_times.parse):
        try:
            moment = read(text)
        except ValueError:
            continue
        assert moment.tzinfo is None


@settings(deadline=None)
@given(MOMENTS)
def test_what_it_writes_it_reads_back(moment: datetime) -> None:
    assert clock.parse(clock.rfc3339(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (SECOND, "2026-01-29T14:30:45.000000Z"),
        (MOMENT, "2026-01-29T14:30:45.123456Z"),
        (datetime(1, 1, 1), "0001-01-01T00:00:00.000000Z"),
        (datetime(2026, 1, 29, 14, 30, 45, 100_000), "2026-01-29T14:30:45.100000Z"),
    ],
)
def test_every_time_is_written_with_six_digits_so_that_a_column_of_them_has_one_form(
    moment: datetime, text: str
) -> None:
    assert clock.rfc3339(moment) == text


@settings(deadline=None)
@given(EPOCH_MOMENTS, OFFSETS)
def test_an_offset_changes_nothing_about_the_moment(moment: datetime, offset: timezone) -> None:
    local = moment.replace(tzinfo=UTC).astimezone(offset)
    assert clock.naive_utc(local) == moment
    assert clock.parse(local.isoformat()) == moment


@settings(deadline=None)
@given(EPOCH_MOMENTS)
def test_the_size_of_an_epoch_number_tells_its_unit(moment: datetime) -> None:
    microseconds = (moment - clock.EPOCH) // timedelta(microseconds=1)
    milliseconds = timedelta(microseconds=microseconds % 1_000)
    assert clock.from_epoch(microseconds / 1e6) == moment
    assert clock.from_epoch(microseconds // 1_000) == moment - milliseconds
    assert clock.from_epoch(microseconds) == moment
    assert abs(clock.from_epoch(microseconds * 1_000) - moment) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(0, datetime(1970, 1, 1), id="zero"),
        pytest.param(-1, datetime(1969, 12, 31, 23, 59, 59), id="before 1970"),
        pytest.param(1769697045, SECOND, id="seconds"),
        pytest.param(1769697045.123456, MOMENT, id="seconds with a fraction"),
        pytest.param(1769697045_123, SECOND + timedelta(milliseconds=123), id="milliseconds"),
        pytest.param(1769697045_123456, MOMENT, id="microseconds"),
        pytest.param(1769697045_123456000, MOMENT, id="nanoseconds"),
        pytest.param(
            1769697045_999999500,
            SECOND + timedelta(seconds=1),
            id="nanoseconds that are rounded up",
        ),
        pytest.param(
            1769697045_000000501, SECOND + timedelta(microseconds=1), id="a few nanoseconds"
        ),
        pytest.param(
            99_999_999_999, datetime(5138, 11, 16, 9, 46, 39), id="the last number of seconds"
        ),
        pytest.param(
            100_000_000_000, datetime(1973, 3, 3, 9, 46, 40), id="the first number of milliseconds"
        ),
        pytest.param(
            100_000_000_000_000,
            datetime(1973, 3, 3, 9, 46, 40),
            id="the first number of microseconds",
        ),
        pytest.param(
            100_000_000_000_000_000,
            datetime(1973, 3, 3, 9, 46, 40),
            id="the first number of nanoseconds",
        ),
    ],
)
def test_it_reads_an_epoch_number(number: float, moment: datetime) -> None:
    assert clock.from_epoch(number) == moment


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(1e300, id="1e300"),
        pytest.param(-1e300, id="-1e300"),
        pytest.param(10**400, id="an integer of 401 digits"),
        pytest.param(-(10**400), id="a negative integer of 401 digits"),
        pytest.param(math.inf, id="infinity"),
        pytest.param(math.nan, id="NaN"),
    ],
)
def test_it_says_that_a_number_is_off_the_calendar(number: float) -> None:
    with pytest.raises(ValueError, match=r"^outside the years 1 to 9999$"):
        clock.from_epoch(number)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("-90s", timedelta(seconds=90)),
        ("-5m", timedelta(minutes=5)),
        ("-24h", timedelta(hours=24)),
        ("-7d", timedelta(days=7)),
        ("-2w", timedelta(weeks=2)),
        ("now", timedelta(0)),
    ],
)
def test_a_query_may_be_relative_to_now(text: str, ago: timedelta) -> None:
    before = clock.now()
    moment = query_times.parse(text)
    assert before <= moment + ago <= clock.now()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2026-01-29T15:30:45 01:00", SECOND, id="a plus that arrived as a space"),
        pytest.param("2026-01-29T15:30:45+01:00", SECOND, id="a plus that was escaped"),
        pytest.param("2026-01-29 14:30:45", SECOND, id="a space for the T"),
        pytest.param(
            "2026-01-29 14:30",
            datetime(2026, 1, 29, 14, 30),
            id="a space for the T, without seconds",
        ),
        pytest.param("1769697045", SECOND, id="epoch seconds"),
        pytest.param("20260129", datetime(2026, 1, 29), id="a date without hyphens"),
        pytest.param("2026-W05-4", datetime(2026, 1, 29), id="a day of a week"),
        pytest.param("20260129T143045Z", SECOND, id="without hyphens and colons"),
        pytest.param("2016-12-31T23:59:60Z", datetime(2017, 1, 1), id="a leap second"),
        pytest.param(
            "2026-01-29T24:00 01:00", datetime(2026, 1, 29, 23), id="the end of a day elsewhere"
        ),
        pytest.param("100000000", datetime(1973, 3, 3, 9, 46, 40), id="the shortest epoch number"),
    ],
)
def test_a_query_is_read_as_it_arrives_in_a_url(text: str, moment: datetime) -> None:
    assert query_times.parse(text) == moment


@pytest.mark.parametrize("text", ["-5y", "-h", "--5m", "yesterday", "-999999999w"])
def test_a_query_that_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a time|outside the years"):
        query_times.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-W40", "2026W40", "2026-W40T10:00", "2026W40T10:00", "2026-W40-0100", "2026-W40Z"),
        *("2026-01", "2026-01Z", "2026-13", "2026-029", "2026-029T10:00"),
    ],
)
def test_a_query_does_not_take_a_month_a_week_or_a_day_of_the_year(text: str) -> None:
    with pytest.raises(ValueError, match=rf'^not a time: "{text}"'):
        query_times.parse(text)


@pytest.mark.parametrize(
    "text", ["2026-W05-4", "2026W054", "20260129", "2026-01-29", "2026-W05-4T00", "2026W054T00:00Z"]
)
def test_a_day_in_a_query_is_its_midnight(text: str) -> None:
    assert query_times.parse(text) == datetime(2026, 1, 29)


LAST = datetime(2026, 1, 29, 14, 30, 45)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        pytest.param(timedelta(seconds=5), timedelta(seconds=5), id="it goes on"),
        pytest.param(timedelta(0), clock.MICROSECOND, id="it stands"),
        pytest.param(timedelta(seconds=-1.9), clock.MICROSECOND, id="it goes back a little"),
        pytest.param(timedelta(seconds=-2.1), timedelta(seconds=-2.1), id="it is set back"),
        pytest.param(timedelta(days=-365), timedelta(days=-365), id="it was a year ahead"),
        pytest.param(timedelta(days=365), timedelta(days=365), id="it is a year ahead"),
    ],
)
def test_server_time_waits_for_a_small_step_back_and_follows_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: timedelta,
    after: timedelta,
) -> None:
    monkeypatch.setattr(clock, "now", lambda: LAST + step)
    assert clock.server_time(LAST) == LAST + after
    assert ("was set back" in caplog.text) == (step < -clock.STEP)


@pytest.mark.parametrize(
    ("shown", "passed", "told"),
    [
        pytest.param([0, 5, 10], [0, 5, 10], [], id="it goes on"),
        pytest.param(
            [0, 1.9, 3.8, 5.7], [0, 0, 0, 0], [], id="it is a little ahead, again and again"
        ),
        pytest.param(
            [0, 3605, 3610],
            [0, 5, 10],
            ["ahead by 3600.0 s"],
            id="it is set ahead, which is told once",
        ),
        pytest.param(
            [0, 3.1, 4.1],
            [0, 1, 2],
            ["ahead by 2.1 s"],
            id="it is set ahead by little more than a step",
        ),
        pytest.param(
            [0, 60, 120, 180], [0, 1, 2, 3], ["ahead by 59.0 s"] * 3, id="again and again"
        ),
        pytest.param(
            [0, -3600, -3595], [0, 5, 10], [], id="it is set back, which server time tells"
        ),
        pytest.param(
            [0, -3600, 5], [0, 1, 2], ["ahead by 3604.0 s"], id="it is set back and ahead again"
        ),
    ],
)
def test_that_the_clock_was_set_ahead_is_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    shown: list[float],
    passed: list[float],
    told: list[str],
) -> None:
    monkeypatch.setattr(
        clock, "now", iter([LAST + timedelta(seconds=second) for second in shown]).__next__
    )
    monkeypatch.setattr(clock, "_running", iter(passed).__next__)
    steps = clock.Steps()
    for _ in shown[1:]:
        steps.look()
    assert [line.split("was set ")[1].split(";")[0] for line in caplog.messages] == told


@pytest.mark.process
def test_the_time_that_a_machine_runs_is_the_same_for_every_process() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from utils import clock; print(*clock.uptime())"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    boot, seconds = told.stdout.split()
    up = clock.uptime()
    assert boot == str(up.boot)
    assert 0 <= up.seconds - float(seconds) < 60


@pytest.mark.parametrize(
    "text", ["0", "1", "2026", "202601", "20261301", "99999999", "-1", "42.5", "12345678.9"]
)
def test_a_query_does_not_take_a_short_number_for_seconds_of_1970(text: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^{text} is too short for epoch seconds, which have at least 9 digits"
    ):
        query_times.parse(text)


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)))
def test_nanoseconds_keep_their_microseconds(moment: datetime) -> None:
    microseconds = (moment - clock.EPOCH) // timedelta(microseconds=1)
    assert clock.from_epoch(microseconds * 1_000) == moment
    assert clock.parse(str(microseconds * 1_000)) == moment


def test_the_strict_clock_gives_every_caller_another_time() -> None:
    strict = clock.StrictClock()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [strict.now() for _ in range(2_000)], range(4)))
    assert len({moment for run in runs for moment in run}) == 8_000
    assert all(earlier < later for run in runs for earlier, later in pairwise(run))


def test_the_strict_clock_stays_at_the_present() -> None:
    before = clock.now()
    assert before <= clock.StrictClock().now() <= clock.now()
