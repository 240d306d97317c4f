"""The health index: values worked out by hand, and what holds for any values."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config import PROJECT
from services.health_index import (
    STATUS_BANDS,
    Analysis,
    analyse,
    as_json,
    diagnosis,
    ideal_ranges,
    summary,
)
from streams import declaration
from streams.stream import Stream
from tests.support import DEVICE_TOPICS, EXAMPLES, SOIL_VALUES

SOIL = declaration.load(PROJECT / "streams", {}, DEVICE_TOPICS)["soil"]
NAMES = sorted(SOIL_VALUES)
EDGE = 100 / math.e
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAUSIBLE = st.floats(-50, 1000)
READINGS = st.fixed_dictionaries({name: st.one_of(PLAUSIBLE, NUMBERS) for name in NAMES})


@pytest.fixture
def declare(tmp_path: Path) -> Any:
    """Declares a stream by its metrics in TOML."""

    def make(metrics: str) -> Stream:
        (tmp_path / "beds.toml").write_text(f'topic = "beds/{{device_id}}"\n{metrics}')
        return declaration.load(tmp_path, {}, DEVICE_TOPICS)["beds"]

    return make


def factor(analysis: Analysis, name: str) -> Any:
    """What the whole document says of one factor."""
    (found,) = [item for item in as_json(analysis)["factors"] if item["factor"] == name]
    return found


# the index


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (15, 100.0),  # the middle of 10 to 20
        (12.5, 60.7),  # half way to an edge: exp(-0.5)
        (17.5, 60.7),
        (10, 36.8),  # an edge: exp(-1)
        (20, 36.8),
        (25, 13.5),  # half a width outside: exp(-2)
        (0, 5.0),  # a whole width outside: exp(-3)
        (30, 5.0),
        (1e308, 0.0),
        (-1e308, 0.0),
    ],
)
def test_the_score_falls_with_the_distance_to_the_middle_of_the_band(
    declare: Any, value: float, score: float
) -> None:
    analysis = analyse(declare("[metrics.a]\nideal = [10, 20]\n"), {"a": value})
    assert factor(analysis, "a")["score"] == score
    # Of one factor the mean and the lowest are the same.
    assert analysis.index == score


def test_the_index_is_half_the_weighted_mean_and_half_the_lowest_score(declare: Any) -> None:
    beds = declare("[metrics.a]\nideal = [0, 10]\n[metrics.b]\nideal = [0, 10]\nweight = 3\n")
    # a scores 100 and b 36.79: (100·1 + 36.79·3) / 4 = 52.59, and (52.59 + 36.79) / 2 = 44.69.
    assert analyse(beds, {"a": 5, "b": 10}).index == 44.7
    # The other way round: (36.79·1 + 100·3) / 4 = 84.20, and (84.20 + 36.79) / 2 = 60.49.
    assert analyse(beds, {"a": 10, "b": 5}).index == 60.5
    assert analyse(beds, {"a": 5, "b": 5}).index == 100.0


def test_one_factor_that_is_far_off_cannot_be_made_up_for_by_the_others() -> None:
    middles = {name: (band["min"] + band["max"]) / 2 for name, band in ideal_ranges(SOIL).items()}
    assert analyse(SOIL, middles).index == 100.0
    # Without phosphorus the mean of the weights 1.5, 1, 1, 1, 1.5, 2, 2 is still (10·100 - 100 + 9.70) / 10 = 90.97,
    # because 0 is 17.5 from the middle of 10 to 25, which is 2.333 halves of its width: exp(-2.333) = 0.0970.
    # (90.97 + 9.70) / 2 = 50.33
    analysis = analyse(SOIL, middles | {"P": 0})
    assert (analysis.index, analysis.status) == (50.3, "Fair")


def test_the_documented_example_is_good() -> None:
    # Offsets: N 0, P 0.3/7.5, K 2.3/50, CO2 1.8/100, Temperature 2.1/5, Moisture 4.8/10, pH 0.18/0.5.
    # Scores:    100,  96.08,    95.50,      98.22,            65.70,          61.88,      69.77.
    # Mean: (1.5·100 + 96.08 + 95.50 + 98.22 + 1.5·65.70 + 2·61.88 + 2·69.77) / 10 = 80.165
    # With the lowest that is (80.165 + 61.878) / 2 = 71.02.
    analysis = analyse(SOIL, SOIL_VALUES)
    assert (analysis.index, analysis.status) == (71.0, "Good")
    assert summary(analysis) == {"index": 71.0, "status": "Good", "limiting": "Moisture"}
    assert [item["score"] for item in as_json(analysis)["factors"]] == [
        100.0,
        96.1,
        95.5,
        98.2,
        65.7,
        61.9,
        69.8,
    ]


@pytest.mark.parametrize(
    ("exact", "index", "status"),
    [
        (100, 100.0, "Excellent"),
        (74.96, 75.0, "Excellent"),
        (74.94, 74.9, "Good"),
        (59.96, 60.0, "Good"),
        (59.94, 59.9, "Fair"),
        (44.96, 45.0, "Fair"),
        (44.94, 44.9, "Poor"),
        (29.96, 30.0, "Poor"),
        (29.94, 29.9, "Critical"),
        (0.01, 0.0, "Critical"),
    ],
)
def test_the_status_is_that_of_the_rounded_index(
    declare: Any, exact: float, index: float, status: str
) -> None:
    # In a band from -1 to 1 the value is the offset.
    analysis = analyse(declare("[metrics.a]\nideal = [-1, 1]\n"), {"a": -math.log(exact / 100)})
    assert (analysis.index, analysis.status) == (index, status)


@hypothesis_settings(deadline=None, max_examples=5 * EXAMPLES)
@given(
    READINGS, st.sampled_from(NAMES), st.one_of(PLAUSIBLE, NUMBERS), st.one_of(PLAUSIBLE, NUMBERS)
)
def test_moving_a_value_further_from_the_middle_never_raises_the_index(
    values: dict[str, float], name: str, first: float, second: float
) -> None:
    band = ideal_ranges(SOIL)[name]
    middle = (band["min"] + band["max"]) / 2
    nearer, further = sorted([first, second], key=lambda value: abs(value - middle))
    better, worse = analyse(SOIL, values | {name: nearer}), analyse(SOIL, values | {name: further})
    assert better.index is not None
    assert worse.index is not None
    assert better.index >= worse.index


@hypothesis_settings(deadline=None)
@given(READINGS, st.sets(st.sampled_from(NAMES)))
def test_whatever_the_values_the_index_is_from_0_to_100_and_all_of_it_is_json(
    values: dict[str, float], left_out: set[str]
) -> None:
    analysis = analyse(
        SOIL, {name: None if name in left_out else value for name, value in values.items()}
    )
    whole = as_json(analysis)
    assert json.loads(msgspec.json.encode(whole)) == whole
    assert sorted(whole["missing"]) == sorted(left_out)
    if len(left_out) == len(NAMES):
        assert (whole["health_index"], whole["status"]) == (None, None)
    else:
        assert 0 <= whole["health_index"] <= 100
        assert whole["health_index"] >= STATUS_BANDS[whole["status"]]


def test_bands_as_narrow_and_as_wide_as_numbers_allow_break_nothing(declare: Any) -> None:
    beds = declare("[metrics.a]\nideal = [0, 5e-324]\n[metrics.b]\nideal = [-1.7e308, 1.7e308]\n")
    assert analyse(beds, {"a": 0, "b": 0}).index == 100.0
    assert analyse(beds, {"a": 1e308, "b": 1.7e308}).index == pytest.approx(EDGE / 4, abs=0.05)


# what is missing


def test_missing_factors_are_left_out_of_the_mean_and_of_the_lowest_and_are_listed() -> None:
    some = {"N": 22.5, "Temperature": 25, "Moisture": None}
    # N scores 100 and Temperature 36.79, both of weight 1.5: mean 68.39, index (68.39 + 36.79) / 2 = 52.59.
    analysis = analyse(SOIL, some)
    assert (analysis.index, analysis.status) == (52.6, "Fair")
    assert analysis.missing == ("P", "K", "CO2", "Moisture", "pH")
    assert [item["factor"] for item in as_json(analysis)["factors"]] == ["N", "Temperature"]


def test_a_reading_without_any_factor_has_no_index() -> None:
    analysis = analyse(SOIL, {})
    nothing: dict[str, Any] = {
        "health_index": None,
        "status": None,
        "anomalies": [],
        "limiting": None,
        "factors": [],
    }
    assert as_json(analysis) == nothing | {"missing": list(SOIL_VALUES)}
    assert summary(analysis) == {"index": None, "status": None, "limiting": None}


def test_what_is_no_factor_has_no_part_in_it(declare: Any) -> None:
    beds = declare('[metrics.a]\nideal = [0, 10]\n[metrics.b]\n[metrics.crop]\ntype = "text"\n')
    values: dict[str, Any] = {"a": 5, "b": -40, "crop": "rye", "id": 7}
    assert as_json(analyse(beds, values))["health_index"] == 100.0
    assert list(ideal_ranges(beds)) == ["a"]


# what limits it, and what to do


def test_the_limiting_factor_is_the_one_with_the_lowest_score() -> None:
    assert summary(analyse(SOIL, SOIL_VALUES | {"K": 90}))["limiting"] == "K"
    # Both scores are 0, and phosphorus is further off.
    assert summary(analyse(SOIL, SOIL_VALUES | {"K": 1e9, "P": 1e9}))["limiting"] == "P"


def test_anomalies_are_the_factors_outside_their_bands_with_distance_and_advice() -> None:
    analysis = analyse(SOIL, SOIL_VALUES | {"N": 12, "Moisture": 75.5})
    assert diagnosis(analysis)["anomalies"] == [
        {
            "factor": "N", "value": 12, "status": "low", "deviation": 3.0,
            "message": "Nitrogen: 12 mg/kg is 3 below the ideal 15 to 30 mg/kg. "
            "Add compost, manure or a nitrogen fertiliser.",
        },
        {
            "factor": "Moisture", "value": 75.5, "status": "high", "deviation": 15.5,
            "message": "Moisture: 75.5 % is 15.5 above the ideal 40 to 60 %. Water less and improve the drainage.",
        },
    ]  # fmt: skip
    assert factor(analysis, "N") == {
        "factor": "N", "title": "Nitrogen", "value": 12, "unit": "mg/kg", "ideal": {"min": 15, "max": 30},
        "score": 24.7, "status": "low",
        "advice": "12 mg/kg is 3 below the ideal 15 to 30 mg/kg. Add compost, manure or a nitrogen fertiliser.",
    }  # fmt: skip


def test_the_edges_belong_to_the_band() -> None:
    for edge in (15, 30):
        analysis = analyse(SOIL, SOIL_VALUES | {"N": edge})
        assert diagnosis(analysis)["anomalies"] == []
        assert factor(analysis, "N")["status"] == "ideal"
        side = "below" if edge == 15 else "above"
        assert (
            factor(analysis, "N")["advice"] == f"Within the ideal band, 7.5 mg/kg {side} its middle"
        )
    assert (
        factor(analyse(SOIL, SOIL_VALUES | {"N": 22.5}), "N")["advice"]
        == "In the middle of the ideal band"
    )
    (anomaly,) = diagnosis(analyse(SOIL, SOIL_VALUES | {"N": math.nextafter(15, 0)}))["anomalies"]
    assert anomaly["status"] == "low"
    assert anomaly["deviation"] > 0


def test_advice_shows_no_binary_fractions_and_no_unit_where_there_is_none(declare: Any) -> None:
    (low,) = diagnosis(analyse(SOIL, SOIL_VALUES | {"pH": 6.4}))["anomalies"]
    assert (low["deviation"], low["message"]) == (
        0.1,
        "Acidity: 6.4 is 0.1 below the ideal 6.5 to 7.5. Add lime.",
    )
    beds = declare("[metrics.frost]\nideal = [-5, 2.5]\nadvice = { high = 'Wait.' }\n")
    assert (
        factor(analyse(beds, {"frost": 3}), "frost")["advice"]
        == "3 is 0.5 above the ideal -5 to 2.5. Wait."
    )
    # Nothing is declared for it.
    assert (
        factor(analyse(beds, {"frost": -6}), "frost")["advice"]
        == "-6 is 1 below the ideal -5 to 2.5."
    )
