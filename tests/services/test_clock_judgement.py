"""What a clock looks like by the times that its readings state; offsets are in seconds."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle, islice

import pytest

from services.clock_judgement import Sighting, judge
from tests.parsing import RECEIVED as NOON

HOUR = 3600.0
UNSET = None
NOISE = (-0.2, -1.5, -0.4, -9.0, -0.3)
"""How long messages take."""
Offsets = Sequence[float | None]


def seen(offsets: Offsets, every: float = 60) -> list[Sighting]:
    """Readings that were stored at equal intervals."""
    return [
        Sighting(NOON + timedelta(seconds=number * every), offset)
        for number, offset in enumerate(offsets)
    ]


def around(offset: float, count: int = 50) -> list[float]:
    """The offsets of a clock whose messages take their time."""
    return [offset + noise for noise in islice(cycle(NOISE), count)]


def backlog(offset: float = 0, count: int = 50, every: float = 60) -> list[float]:
    """The offsets of messages that were measured at intervals and arrive together, oldest first."""
    return [offset - every * number for number in range(count, 0, -1)]


def found(offsets: Offsets, every: float = 60, declared: float | None = None) -> str | None:
    judgement = judge(seen(offsets, every), declared)
    return judgement and judgement.looks_like


@pytest.mark.parametrize(
    "offsets",
    [
        [0],
        [-0.3],
        [25],
        [-90],
        around(0),
        around(20),
        [*around(0, 20), 3 * HOUR, *around(0, 20)],
        [*around(0, 20), -3 * HOUR, *around(0, 20)],
        [*around(0, 49), 400 * HOUR],
        [*around(0, 20), UNSET, *around(0, 20)],
        [*around(0, 20), UNSET],
        [UNSET] * 5 + [-0.3],
        [UNSET] * 5 + around(0),
        [*around(0, 20), *[UNSET] * 5, *around(0, 20)],
        [*around(2 * HOUR, 25), *around(0, 25)],
        [*around(-5 * HOUR, 25), *around(0, 25)],
        [-1200, -600, 0] * 15,
    ],
)
def test_a_clock_is_right(offsets: Offsets) -> None:
    assert found(offsets) == "right"


@pytest.mark.parametrize(
    "offsets",
    [
        [*backlog(), *around(0, 3)],
        [*around(0, 20), *backlog(count=25), *around(0, 5)],
        [*around(0, 20), *backlog(count=30)],
        backlog(count=25, every=30),
    ],
)
def test_a_backlog_makes_no_clock_wrong(offsets: Offsets) -> None:
    assert found(offsets, every=0.01) == "right"


@pytest.mark.parametrize("hours", [1, 2, 14, -1, -5, -12, 3.5, 5.75, -3.5, -9.5, 12.75])
@pytest.mark.parametrize("noise", [1, 12])
def test_a_clock_is_by_a_zone_east_or_west(hours: float, noise: float) -> None:
    offsets = [hours * HOUR + noise * (one - hours * HOUR) for one in around(hours * HOUR)]
    judgement = judge(seen(offsets))
    assert judgement is not None
    assert judgement.looks_like == "zone"
    assert judgement.offset == pytest.approx(hours * HOUR, abs=30)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([7200.0], 7200),
        ([-18000.0, -18000.2], -18000),
        ([*around(HOUR, 25), *around(2 * HOUR, 25)], 2 * HOUR),
        ([*around(2 * HOUR, 25), *around(HOUR, 25)], HOUR),
        ([*around(-4 * HOUR, 25), *around(-5 * HOUR, 25)], -5 * HOUR),
        ([*around(0, 25), *around(-5 * HOUR, 25)], -5 * HOUR),
        ([*around(0, 25), *around(2 * HOUR, 25)], 2 * HOUR),
        ([*around(2 * HOUR, 20), 3000 * HOUR, *around(2 * HOUR, 20)], 2 * HOUR),
        ([*around(2 * HOUR, 20), *backlog(2 * HOUR, 10), *around(2 * HOUR, 20)], 2 * HOUR),
        ([*[UNSET] * 5, *around(2 * HOUR, 10)], 2 * HOUR),
    ],
)
def test_a_zone_is_that_of_the_newest_readings(offsets: Offsets, expected: float) -> None:
    judgement = judge(seen(offsets))
    assert judgement is not None
    assert judgement.looks_like == "zone"
    assert judgement.offset == pytest.approx(expected, abs=30)


@pytest.mark.parametrize(
    ("offset", "declared", "expected"),
    [
        (HOUR, HOUR, "zone"),
        (-900, 5.75 * HOUR, "zone"),
        (1800, 5 * HOUR, "zone"),
        (0, 2 * HOUR, "right"),
        (-900, None, "drifting"),
        (1800, None, "drifting"),
        (3 * HOUR, 12 * HOUR, "drifting"),
        (15 * HOUR, None, "drifting"),
        (-13 * HOUR, None, "drifting"),
    ],
)
def test_an_offset_is_a_zones_if_there_can_be_such_a_zone(
    offset: float, declared: float | None, expected: str
) -> None:
    """Meters state when a quarter of an hour began; where a zone is declared, another may be meant."""
    assert found(around(offset), declared=declared) == expected


@pytest.mark.parametrize(
    "offsets",
    [
        [300.0],
        around(300),
        around(-400),
        around(3.2 * HOUR),
        around(70 * 24 * HOUR),
        around(-500 * 24 * HOUR),
        [*around(0, 25), *around(-500 * 24 * HOUR, 25)],
        [0.6 * number for number in range(100)],
        [-0.6 * number for number in range(300)],
        [7200 + 2 * number for number in range(200)],
    ],
)
def test_a_clock_drifts_or_is_off_by_what_no_zone_is(offsets: Offsets) -> None:
    assert found(offsets) == "drifting"


def test_a_clock_that_loses_a_percent_drifts_though_its_readings_are_hours_apart() -> None:
    assert found([-100 - 36 * number for number in range(50)], every=HOUR) == "drifting"


@pytest.mark.parametrize(
    "offsets",
    [[UNSET], [UNSET] * 50, [*around(0), UNSET, UNSET], [*around(2 * HOUR), UNSET, UNSET]],
)
def test_a_clock_is_not_set(offsets: Offsets) -> None:
    assert judge(seen(offsets)) == ("not_set", None)


@pytest.mark.parametrize(
    "offsets",
    [
        [UNSET, 0.0] * 25,
        [UNSET, UNSET, -0.3, -0.2] * 10,
        [-HOUR, HOUR] * 25,
        [-300.0, 300.0, -0.2] * 10,
        [50 * HOUR, 400.0, 9000.0, -70.0, 2000.0],
        [0.0, HOUR] * 25,
        [0.0, -HOUR] * 25,
        [HOUR, 2 * HOUR] * 25,
        [0.0, 0.0, 0.0, HOUR] * 12,
        [0.0, 500.0] * 25,
        [0.0, HOUR, 0.0, HOUR, 0.0, HOUR],
    ],
)
def test_a_clock_jumps(offsets: Offsets) -> None:
    assert found(offsets) == "jumping"


@pytest.mark.parametrize(
    ("offsets", "every"),
    [
        ([], 60),
        ([-5 * HOUR], 60),
        ([-5 * HOUR, -5 * HOUR + 1, -5 * HOUR + 2], 0),
        (backlog(-5 * HOUR, every=1), 0.01),
        (backlog(-5 * HOUR), 0.01),
        (backlog(-1000 * HOUR, every=HOUR), 1),
        (backlog(-HOUR, every=120), 60),
    ],
)
def test_late_messages_alone_tell_nothing(offsets: Offsets, every: float) -> None:
    """They are a backlog, or the import of old readings."""
    assert found(offsets, every) is None


@pytest.mark.parametrize(
    ("offsets", "every"),
    [
        ([-HOUR] * 10, HOUR),
        ([-HOUR - 3] * 10, HOUR),
        ([-900.0] * 10, 900),
        ([-HOUR, -5 * HOUR, -HOUR, -HOUR], HOUR),
        ([-86_400.0] * 3, 86_400),
    ],
)
def test_a_meter_that_states_when_an_interval_began_is_right(
    offsets: list[float], every: float
) -> None:
    full_hour = NOON.replace(minute=0, second=0, microsecond=0)
    readings = [
        # Stored as late as the offset tells, and stated on the full hour or quarter of an hour.
        Sighting(full_hour + timedelta(seconds=number * every - offset % -every), offset)
        for number, offset in enumerate(offsets)
    ]
    assert judge(readings) == ("right", max(offsets))


@pytest.mark.parametrize(
    ("offset", "every"), [(-HOUR, HOUR), (-HOUR, 900), (-5 * HOUR, HOUR), (-HOUR, 60)]
)
def test_a_clock_behind_is_by_a_zone_if_its_times_begin_no_interval(
    offset: float, every: float
) -> None:
    assert found([offset] * 10, every) == "zone"


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("at", [0, -5 * HOUR])
def test_readings_that_are_sent_together_are_of_one_clock(at: float, newest_first: bool) -> None:
    batch = sorted((at, at - 900, at - 1800, at - 2700), reverse=newest_first)
    readings = [
        Sighting(NOON + timedelta(hours=hour), offset) for hour in range(12) for offset in batch
    ]
    assert judge(readings) == ("zone" if at else "right", at)


def test_two_devices_that_send_at_the_same_second_jump() -> None:
    offsets = [-0.3, HOUR - 0.4]
    readings = [
        Sighting(NOON + timedelta(seconds=60 * minute), offset)
        for minute in range(25)
        for offset in offsets
    ]
    judgement = judge(readings)
    assert judgement is not None
    assert judgement.looks_like == "jumping"
