"""Energy: power integrated over time and counters, worked out by hand."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from services.counters import Sample
from services.energy import (
    EnergyFigures,
    Interval,
    TimePiece,
    counter_pieces,
    figures,
    hours_of,
    integrate,
    power_pieces,
)
from streams.stream import Hours, Tariff
from utils import calendar
from utils.calendar import Span

GAP = 900.0
MIDNIGHT = datetime(2026, 1, 29)
WINDOW = Span(MIDNIGHT, MIDNIGHT + timedelta(days=1))


class Asked(NamedTuple):
    """What is asked for: as a rule the days of a UTC day without a tariff."""

    span: Span = WINDOW
    tz: str = "UTC"
    interval: Interval = "day"
    tariff: Tariff | None = None


UTC_DAY = Asked()


def at(hours: float, value: float) -> Sample:
    """A sample so many hours after midnight."""
    return MIDNIGHT + timedelta(hours=hours), value


def every(minutes: int, span: Span, value: float) -> list[Sample]:
    """The same value all the time, both ends included."""
    count = int(span.seconds // (60 * minutes))
    return [(span.start + timedelta(minutes=minutes * i), value) for i in range(count + 1)]


def day(text: str, zone: str) -> Span:
    """A day in a zone."""
    first, place = datetime.fromisoformat(text), calendar.zone(zone)
    return Span(
        calendar.at(first.date(), first.time(), place),
        calendar.at((first + timedelta(days=1)).date(), first.time(), place),
    )


def of_power(samples: list[Sample], asked: Asked = UTC_DAY) -> EnergyFigures:
    """The energy of power samples."""
    return _figures(power_pieces(samples, GAP), asked)


def of_counter(samples: list[Sample], asked: Asked = UTC_DAY) -> EnergyFigures:
    """The energy of counter samples."""
    return _figures(counter_pieces(samples, GAP), asked)


def _figures(pieces: Iterator[TimePiece], asked: Asked) -> EnergyFigures:
    hours = hours_of(asked.span, calendar.zone(asked.tz), asked.tariff)
    integrate(pieces, hours)
    return figures("power", hours, asked.interval)


def energies(found: EnergyFigures) -> list[float | None]:
    """The energy of each bucket, rounded to a milliwatt-hour."""
    return [bucket.energy and round(bucket.energy, 6) for bucket in found.buckets]


# Power


def test_constant_power_for_a_day() -> None:
    found = of_power(every(15, WINDOW, 1500))
    assert found.total.energy == pytest.approx(36)  # 1.5 kW · 24 h
    assert found.total.coverage == 100


def test_between_two_samples_the_power_changes_evenly() -> None:
    found = of_power([at(1, 100), at(1.25, 500)])
    assert found.total.energy == pytest.approx(0.075)  # (100 + 500)/2 W · ¼ h = 75 Wh
    assert found.total.coverage == pytest.approx(100 * 0.25 / 24)


def test_a_day_with_a_gap() -> None:
    morning, evening = Span(WINDOW.start, at(6, 0)[0]), Span(at(8, 0)[0], WINDOW.end)
    found = of_power(every(5, morning, 1000) + every(5, evening, 2000))
    assert found.total.energy == pytest.approx(38)  # 6 h · 1 kW + 16 h · 2 kW
    assert found.total.coverage == pytest.approx(100 * 22 / 24)


@pytest.mark.parametrize(("seconds", "energy"), [(900, 0.25), (900.000001, None)])
def test_exactly_the_gap_is_still_integrated(seconds: float, energy: float | None) -> None:
    found = of_power([at(1, 1000), at(1 + seconds / 3600, 1000)])
    assert energies(found) == [energy]  # 1 kW · ¼ h


def test_a_stretch_is_clipped_at_both_ends_of_the_window() -> None:
    # From 11:50 to 12:04 it rises from 0 to 840 W, by 1 W/s. Asked for is 11:52 to 12:02: 120 to 720 W.
    samples = [at(12 - 10 / 60, 0), at(12 + 4 / 60, 840)]
    found = of_power(samples, Asked(Span(at(12 - 8 / 60, 0)[0], at(12 + 2 / 60, 0)[0])))
    assert found.total.energy == pytest.approx(0.07)  # 420 W · 600 s = 252,000 J
    assert found.total.coverage == 100


def test_a_stretch_over_a_border_is_divided_there() -> None:
    # The same rise by the hour: until 12:00 from 0 to 600 W in 600 s, then from 600 to 840 W in 240 s.
    samples = [at(12 - 10 / 60, 0), at(12 + 4 / 60, 840)]
    found = of_power(samples, Asked(interval="hour"))
    assert [bucket.energy for bucket in found.buckets[11:13]] == [
        pytest.approx(300 * 600 / 3.6e6),
        pytest.approx(720 * 240 / 3.6e6),
    ]
    assert [round(bucket.coverage, 4) for bucket in found.buckets[11:13]] == [
        16.6667,
        6.6667,
    ]  # 600 and 240 of 3600 s


def test_the_parts_sum_to_the_whole() -> None:
    chance = random.Random(1)
    samples = [at(minute / 60, chance.uniform(-500, 5000)) for minute in range(-10, 1450, 7)]
    whole = of_power(samples, Asked(tariff=Tariff(1.5)))
    hourly = of_power(samples, Asked(interval="hour", tariff=Tariff(1.5)))
    assert sum(bucket.energy or 0 for bucket in hourly.buckets) == pytest.approx(whole.total.energy)
    assert sum(bucket.cost or 0 for bucket in hourly.buckets) == pytest.approx(whole.total.cost)


def test_energy_that_is_fed_in_is_negative_and_so_is_its_cost() -> None:
    found = of_power(every(15, Span(MIDNIGHT, at(2, 0)[0]), -500), Asked(tariff=Tariff(0.3)))
    assert found.total.energy == pytest.approx(-1)
    assert found.total.cost == pytest.approx(-0.3)


def test_buckets_without_samples_are_listed_and_null() -> None:
    found = of_power(
        every(15, Span(at(1, 0)[0], at(2, 0)[0]), 100), Asked(interval="hour", tariff=Tariff(2))
    )
    assert energies(found) == [None, 0.1] + [None] * 22
    assert [bucket.cost for bucket in found.buckets[:2]] == [None, pytest.approx(0.2)]
    assert [bucket.coverage for bucket in found.buckets[:3]] == [0, 100, 0]


def test_no_power_is_zero_and_not_null() -> None:
    assert energies(of_power([at(1, 0), at(1.1, 0)])) == [0]


@pytest.mark.parametrize(
    "samples", [[], [at(1, 100)], [at(1, 100), at(9, 100)], [at(30, 1), at(30.1, 1)]]
)
def test_nothing_is_known_without_two_samples_close_to_each_other(samples: list[Sample]) -> None:
    found = of_power(samples, Asked(tariff=Tariff(2)))
    assert (found.total.energy, found.total.cost, found.total.coverage) == (None, None, 0)


def test_two_readings_at_the_same_time_are_a_step() -> None:
    found = of_power([at(1, 100), at(1.2, 100), at(1.2, 500), at(1.4, 500)])
    assert energies(found) == [0.12]  # 0.2 h · 100 W + 0.2 h · 500 W


def test_power_too_large_to_be_multiplied_breaks_nothing() -> None:
    assert of_power([at(1, 1e308), at(1.2, 1e308)]).total.energy == float("inf")


@pytest.mark.long
def test_100_000_samples_give_the_closed_form() -> None:
    samples = [(MIDNIGHT + timedelta(seconds=i), float(i)) for i in range(100_001)]
    found = of_power(
        samples,
        Asked(Span(MIDNIGHT, MIDNIGHT + timedelta(seconds=100_000)), "Asia/Jakarta", "hour"),
    )
    assert found.total.energy == pytest.approx(100_000**2 / 2 / 3_600_000, rel=1e-9)  # ∫ t dt in Ws
    assert found.total.coverage == 100


# Local time


@pytest.mark.parametrize(
    ("date", "tz", "hours"),
    [
        ("2026-01-29", "Europe/Berlin", 24),
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-03-29", "Asia/Kolkata", 24),
    ],
)
def test_a_day_has_as_many_hours_as_the_clocks_show(date: str, tz: str, hours: int) -> None:
    whole = day(date, tz)
    samples = every(15, whole, 1000)
    daily, hourly = of_power(samples, Asked(whole, tz)), of_power(samples, Asked(whole, tz, "hour"))
    assert energies(daily) == [hours]  # 1 kW
    assert energies(hourly) == [1] * hours
    assert daily.total.coverage == 100


def test_days_begin_at_local_midnight() -> None:
    # In Kolkata, 5½ hours ahead, a day begins at 18:30 UTC: 18.5 hours are of the first and 5.5 of the second.
    found = of_power(every(10, WINDOW, 1000), Asked(tz="Asia/Kolkata"))
    assert energies(found) == [18.5, 5.5]
    assert [bucket.local.isoformat() for bucket in found.buckets] == [
        "2026-01-29T05:30:00+05:30",
        "2026-01-30T00:00:00+05:30",
    ]


def test_the_hour_that_the_clocks_show_twice_is_two_hours() -> None:
    whole = day("2026-10-25", "Europe/Berlin")
    found = of_power(every(15, whole, 1000), Asked(whole, "Europe/Berlin", "hour"))
    assert [bucket.local.isoformat() for bucket in found.buckets[1:5]] == [
        "2026-10-25T01:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_months_are_those_of_the_zone_and_the_first_and_the_last_are_clipped() -> None:
    # From 30 January to 2 March in Jakarta, 7 hours ahead: 2 days, 28 days and 1 day at 100 W.
    span = Span(datetime(2026, 1, 29, 17), datetime(2026, 3, 1, 17))
    found = of_power(every(15, span, 100), Asked(span, "Asia/Jakarta", "month"))
    assert energies(found) == [4.8, 67.2, 2.4]
    assert [bucket.local.date().isoformat() for bucket in found.buckets] == [
        "2026-01-30",
        "2026-02-01",
        "2026-03-01",
    ]
    assert [bucket.span for bucket in found.buckets][1] == (
        datetime(2026, 1, 31, 17),
        datetime(2026, 2, 28, 17),
    )


def test_the_month_of_daylight_saving_is_an_hour_shorter() -> None:
    berlin = calendar.zone("Europe/Berlin")
    span = Span(
        *(
            calendar.at(datetime(2026, month, 1).date(), datetime.min.time(), berlin)
            for month in (3, 4)
        )
    )
    assert energies(of_power(every(15, span, 1000), Asked(span, "Europe/Berlin", "month"))) == [
        31 * 24 - 1
    ]


def test_a_day_that_a_zone_left_out_is_no_bucket() -> None:
    """Samoa had no 30 December 2011."""
    span = Span(datetime(2011, 12, 29, 10), datetime(2011, 12, 31, 10))
    found = of_power(every(15, span, 1000), Asked(span, "Pacific/Apia"))
    assert [bucket.local.date().isoformat() for bucket in found.buckets] == [
        "2011-12-29",
        "2011-12-31",
    ]
    assert energies(found) == [24, 24]


# Cost

NIGHT = Tariff(0.40, "EUR", (Hours(0, 6, 0.20), Hours(22, 24, 0.25)))


def test_cost_follows_the_tariff_through_the_hours_of_a_day() -> None:
    found = of_power(every(15, WINDOW, 1000), Asked(tariff=NIGHT))
    assert found.total.cost == pytest.approx(6 * 0.20 + 16 * 0.40 + 2 * 0.25)  # kWh · price = 8.10


def test_the_hours_of_a_tariff_are_local() -> None:
    # 05:30 to 06:30 in Kolkata: half a kilowatt-hour by night, half by day.
    span = Span(MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    samples = every(15, span, 1000)
    assert of_power(samples, Asked(span, "Asia/Kolkata", tariff=NIGHT)).total.cost == pytest.approx(
        0.10 + 0.20
    )
    assert of_power(samples, Asked(span, "UTC", tariff=NIGHT)).total.cost == pytest.approx(0.20)


@pytest.mark.parametrize(("date", "night"), [("2026-03-29", 5), ("2026-10-25", 7)])
def test_the_night_is_an_hour_shorter_in_spring_and_longer_in_autumn(date: str, night: int) -> None:
    whole = day(date, "Europe/Berlin")
    found = of_power(every(15, whole, 1000), Asked(whole, "Europe/Berlin", tariff=NIGHT))
    assert found.total.cost == pytest.approx(night * 0.20 + 16 * 0.40 + 2 * 0.25)


@pytest.mark.parametrize(
    ("export", "cost"),
    [(None, 0.4 - 0.2), (0.0, 0.4), (0.1, 0.4 - 0.05), (0.5, 0.4 - 0.25)],
    ids=["as it costs", "nothing", "less", "more"],
)
def test_what_is_fed_in_has_a_price_of_its_own(export: float | None, cost: float) -> None:
    used, fed_in = (
        every(15, Span(MIDNIGHT, at(1, 0)[0]), 1000),
        every(15, Span(at(2, 0)[0], at(3, 0)[0]), -500),
    )
    found = of_power([*used, *fed_in], Asked(tariff=Tariff(0.4, export=export)))
    assert found.total.energy == pytest.approx(0.5)
    assert found.total.cost == pytest.approx(cost)


@pytest.mark.parametrize("export", [None, 0.0, 0.1])
def test_what_is_fed_in_counts_from_the_moment_the_power_goes_below_zero(
    export: float | None,
) -> None:
    # In 600 s from 600 W to -300 W: 400 s are drawn, 300 W on average, and 200 s fed in, 150 W on average.
    found = of_power([at(1, 600), at(1 + 1 / 6, -300)], Asked(tariff=Tariff(0.5, export=export)))
    assert found.total.energy == pytest.approx((300 * 400 - 150 * 200) / 3.6e6)
    paid = 0.5 if export is None else export
    assert found.total.cost == pytest.approx((300 * 400 * 0.5 - 150 * 200 * paid) / 3.6e6)


def test_there_is_no_cost_without_a_tariff() -> None:
    assert of_power(every(15, WINDOW, 1000)).total.cost is None


# Counters


def test_a_counter_says_the_energy_itself() -> None:
    found = of_counter([at(0, 1000), at(12, 1004), at(24, 1010)])
    assert found.total.energy == pytest.approx(10)


def test_what_was_used_in_a_gap_is_known_but_not_covered() -> None:
    # 8 kWh from 02:00 to 06:00 are 2 an hour; only from 06:00 to 06:15 are the samples close.
    samples = [at(2, 100), at(6, 108), at(6.25, 109)]
    found = of_counter(samples, Asked(interval="hour"))
    assert energies(found)[:8] == [None, None, 2, 2, 2, 2, 1, None]
    assert [bucket.coverage for bucket in found.buckets[5:8]] == [0, 25, 0]
    assert found.total.coverage == pytest.approx(100 * 0.25 / 24)


def test_a_counter_is_clipped_at_both_ends_of_the_window() -> None:
    # 48 kWh from noon to noon two days later, one an hour; the 24 of the day in the middle count.
    assert energies(of_counter([at(-12, 500), at(36, 548)])) == [24]


def test_after_a_reset_a_counter_begins_at_zero() -> None:
    # 100 → 103, then it shows 2, which was used since, then 5.
    found = of_counter([at(1, 100), at(2, 103), at(3, 2), at(4, 5)], Asked(interval="hour"))
    assert energies(found)[1:4] == [3, 2, 3]
    assert found.total.energy == pytest.approx(8)


def test_jitter_counts_for_nothing_and_neither_does_the_way_back_up() -> None:
    # 100 → 99.9 → 99.95 → 100 → 101: one kilowatt-hour was used.
    found = of_counter(
        [at(0, 100), at(1, 99.9), at(2, 99.95), at(3, 100), at(4, 101)], Asked(interval="hour")
    )
    assert energies(found)[:4] == [0, 0, 0, 1]
    assert energies(of_counter([at(0, 100), at(1, 99.9), at(2, 103)], Asked(interval="hour")))[
        :2
    ] == [0, 3]


@pytest.mark.parametrize(("shown", "used"), [(90, 0), (89.99, 89.99)])
def test_a_fall_of_more_than_a_tenth_is_a_reset(shown: float, used: float) -> None:
    assert energies(of_counter([at(0, 100), at(1, shown)])) == [used]


def test_what_is_below_zero_is_no_count() -> None:
    assert of_counter([at(0, 5), at(1, -1), at(2, 7), at(3, -3)]).total.energy == 2


def test_a_reset_after_jitter_forgets_what_the_counter_had_been() -> None:
    found = of_counter([at(0, 100), at(1, 99), at(2, 1), at(3, 4)], Asked(interval="hour"))
    assert energies(found)[:3] == [0, 1, 3]


def test_of_two_counts_at_the_same_time_the_last_one_holds() -> None:
    assert energies(
        of_counter([at(0, 100), at(1, 101), at(1, 102), at(2, 104)], Asked(interval="hour"))
    )[:2] == [2, 2]


@pytest.mark.parametrize(
    "samples", [[], [at(1, 100)], [at(1, 100), at(1, 101)], [at(25, 1), at(26, 2)]]
)
def test_nothing_is_known_without_two_counts_around_some_of_the_time(samples: list[Sample]) -> None:
    assert energies(of_counter(samples)) == [None]


def test_a_counter_costs_what_its_hours_cost() -> None:
    # 24 kWh from midnight to midnight are one an hour.
    found = of_counter([at(0, 0), at(24, 24)], Asked(tariff=NIGHT))
    assert found.total.cost == pytest.approx(8.10)


@pytest.mark.parametrize("energy_of", [of_power, of_counter])
def test_two_parts_of_a_day_are_the_day_wherever_it_is_divided(
    energy_of: Callable[[list[Sample], Asked], EnergyFigures],
) -> None:
    samples = [at(hour / 10, 100.0 + hour) for hour in range(-5, 250)]
    middle = at(9.87, 0)[0]
    halves = [Span(WINDOW.start, middle), Span(middle, WINDOW.end)]
    parts = [energy_of(samples, Asked(half)).total.energy or 0 for half in halves]
    assert sum(parts) == pytest.approx(energy_of(samples, UTC_DAY).total.energy)
