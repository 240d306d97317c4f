"""What is said about a wrong clock, with the line for the stream's file."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.clock_advice import advice
from services.clock_judgement import Judgement
from tests.declarations import Declare

SUMMER, WINTER = datetime(2026, 7, 1, 12), datetime(2026, 1, 29, 12)
BERLIN = ZoneInfo("Europe/Berlin")
ANY_NAME = "or the name of the zone, such as Europe/Berlin, which follows summer time. "
LINE_IS_FOR = "The line is for all devices of the stream, and for times without an offset"
SNTP = "have the device set its clock by SNTP before it states a time, or leave the time out"


def said(
    declare: Declare,
    judgement: Judgement,
    keys: str = "",
    claimed: str | None = None,
    now: datetime = WINTER,
    here: ZoneInfo | None = None,
) -> str | None:
    text = f'topic = "x/{{device_id}}"\n[timestamp]\n{keys}\n[metrics.m]\n'
    (stream,) = declare(x=text)
    return advice(judgement, stream, claimed, now, here)


@pytest.mark.parametrize(
    ("offset", "keys", "expected"),
    [
        (7200.4, "", f'Write zone = "+02:00" under [timestamp] in x.toml, {ANY_NAME}'),
        (-18061, "", f'Write zone = "-05:00" under [timestamp] in x.toml, {ANY_NAME}'),
        (20700, "", f'Write zone = "+05:45" under [timestamp] in x.toml, {ANY_NAME}'),
        (-12600, "", f'Write zone = "-03:30" under [timestamp] in x.toml, {ANY_NAME}'),
        (
            -3600,
            'zone = "+07:00"',
            f'Correct zone = "+07:00" under [timestamp] in x.toml to zone = "+06:00", {ANY_NAME}',
        ),
        (
            3600,
            'zone = "Europe/Berlin"',
            'Correct zone = "Europe/Berlin" under [timestamp] in x.toml to zone = "+02:00", '
            + ANY_NAME,
        ),
        (
            -3600,
            'zone = "Europe/Berlin"',
            'Remove zone = "Europe/Berlin" under [timestamp] in x.toml. ',
        ),
        (
            7200,
            'format = "%d.%m.%Y %H:%M:%S"',
            f'Write zone = "+02:00" under [timestamp] in x.toml, {ANY_NAME}',
        ),
    ],
)
def test_a_zone_is_mended_by_a_line(
    declare: Declare, offset: float, keys: str, expected: str
) -> None:
    assert said(declare, Judgement("zone", offset), keys) == expected + LINE_IS_FOR


@pytest.mark.parametrize(
    ("now", "offset", "is_named"),
    [(WINTER, 3600, True), (WINTER, 7200, False), (SUMMER, 7200, True), (SUMMER, 3600, False)],
)
def test_the_zone_of_the_server_is_named_if_it_has_the_offset_now(
    declare: Declare, now: datetime, offset: float, is_named: bool
) -> None:
    told = said(declare, Judgement("zone", offset), now=now, here=BERLIN)
    named = 'or zone = "Europe/Berlin", where this server is, which follows summer time. '
    assert told is not None
    assert (named in told) is is_named


def test_an_abbreviation_of_the_servers_zone_is_not_named(declare: Declare) -> None:
    told = said(declare, Judgement("zone", 3600), here=ZoneInfo("CET"))
    assert told == f'Write zone = "+01:00" under [timestamp] in x.toml, {ANY_NAME}{LINE_IS_FOR}'


@pytest.mark.parametrize("written", ["s", "%Y-%m-%dT%H:%M:%S%z"])
def test_no_zone_mends_times_that_have_no_zone_to_declare(declare: Declare, written: str) -> None:
    told = said(declare, Judgement("zone", 7200), f'format = "{written}"')
    assert told == (
        "The device states times that are +02:00 from UTC as if they were UTC: have it state UTC, "
        f'or correct format = "{written}" under [timestamp] in x.toml'
    )


@pytest.mark.parametrize(
    ("claimed", "keys", "expected"),
    [
        ("12.5", "", f"12.5, which may be seconds since its start: {SNTP}"),
        (
            "1970-01-01T00:00:07.000000Z",
            "",
            f"1970-01-01T00:00:07.000000Z, so its clock is not set: {SNTP}",
        ),
        (
            "soon",
            "",
            (
                '"soon", which is not read as a time: declare its format under [timestamp] in x.toml, '
                f"or {SNTP}"
            ),
        ),
        (
            "soon",
            'format = "s"',
            (
                '"soon", which is not read as a time: correct format = "s" under [timestamp] in '
                f"x.toml, or {SNTP}"
            ),
        ),
    ],
)
def test_a_clock_that_is_not_set_is_shown(
    declare: Declare, claimed: str, keys: str, expected: str
) -> None:
    told = said(declare, Judgement("not_set", None), keys, claimed)
    assert told == f"The device states {expected}"


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        (Judgement("right", 0.1), None),
        (
            Judgement("drifting", 300.2),
            (
                "The clock is 300 s ahead, which no zone explains: have the device set its clock by "
                "SNTP at least daily"
            ),
        ),
        (
            Judgement("drifting", -900),
            (
                "The clock is 900 s behind, which no zone explains: have the device set its clock by "
                "SNTP at least daily, unless it states when an interval began"
            ),
        ),
        (
            Judgement("jumping", None),
            (
                "The times jump: give every device an id of its own, and have it set its clock by SNTP "
                "before it states a time"
            ),
        ),
    ],
)
def test_other_clocks_are_mended_at_the_device(
    declare: Declare, judgement: Judgement, expected: str | None
) -> None:
    assert said(declare, judgement) == expected
