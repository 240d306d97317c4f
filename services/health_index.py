"""The health index: how well a reading fits the ideal bands of its stream, from 0 to 100.

Each factor, a metric with an ideal band, has an offset: the distance of its value from the middle
of the band, in halves of the band's width. It is 0 in the middle and 1 at the edges. The score of a
factor is 100·exp(-offset): 100 in the middle, 37 at the edges, 5 a whole width outside. The index
is half the mean of the scores by the declared weights, and half the lowest score, because a soil is
no better than its scarcest factor (Liebig's law of the minimum). It is rounded to 1 decimal, and
the status is that of the rounded index.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from streams.metric import Metric
from streams.stream import Stream
from utils.json_types import JsonObject

STATUS_BANDS = {"Excellent": 75, "Good": 60, "Fair": 45, "Poor": 30, "Critical": 0}
"""Lowest index of each status, best first."""


class Finding(NamedTuple):
    """The result of one factor."""

    metric: Metric
    value: float
    offset: float
    """Distance from the middle of the band, in halves of its width; may be infinite."""
    deviation: float
    """Distance from the band in the metric's unit: negative below, 0 inside, positive above."""

    @property
    def score(self) -> float:
        """The score from 0 to 100."""
        return 100 * math.exp(-self.offset)

    @property
    def status(self) -> Literal["ideal", "low", "high"]:
        """The position of the value relative to the band."""
        if self.deviation == 0:
            return "ideal"
        return "low" if self.deviation < 0 else "high"


@dataclass(frozen=True)
class Analysis:
    """The health of one reading; `index` and `status` are None without a value of any factor."""

    index: float | None
    status: str | None
    limiting: Finding | None
    """The factor with the lowest score."""
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    """The factors without a value."""


def analyse(stream: Stream, values: Mapping[str, float | None]) -> Analysis:
    """Return the health of a reading from its values by metric name; only factors count."""
    found = [(metric, values.get(metric.name)) for metric in stream.factors]
    findings = tuple(_finding(metric, value) for metric, value in found if value is not None)
    missing = tuple(metric.name for metric, value in found if value is None)
    if not findings:
        return Analysis(None, None, None, (), missing)
    weights = sum(finding.metric.weight for finding in findings)
    mean = sum(finding.score * finding.metric.weight for finding in findings) / weights
    # The offset still finds the worst factor where all scores are close to 0.
    limiting = max(findings, key=lambda finding: finding.offset)
    index = round((mean + limiting.score) / 2, 1)
    return Analysis(index, _status(index), limiting, findings, missing)


def as_json(analysis: Analysis) -> JsonObject:
    """Return the whole analysis as JSON."""
    return {
        **diagnosis(analysis),
        "limiting": _name(analysis.limiting),
        "missing": list(analysis.missing),
        "factors": [_factor(finding) for finding in analysis.findings],
    }


def diagnosis(analysis: Analysis) -> JsonObject:
    """Return the index, its status and the anomalies."""
    return {
        "health_index": analysis.index,
        "status": analysis.status,
        "anomalies": _anomalies(analysis),
    }


def summary(analysis: Analysis) -> JsonObject:
    """Return the index, its status and the limiting factor."""
    return {
        "index": analysis.index,
        "status": analysis.status,
        "limiting": _name(analysis.limiting),
    }


def ideal_ranges(stream: Stream) -> dict[str, JsonObject]:
    """Return the ideal band of every factor by name."""
    return {
        metric.name: _ideal(metric)
        | {"unit": metric.unit, "title": metric.title, "weight": metric.weight}
        for metric in stream.factors
    }


def _finding(metric: Metric, value: float) -> Finding:
    low, high = _edges(metric)
    # Halved first to avoid overflow; half of the narrowest possible band would be 0.
    middle, half = low / 2 + high / 2, max(high / 2 - low / 2, math.ulp(0.0))
    deviation = min(value - low, 0.0) + max(value - high, 0.0)
    return Finding(metric, value, abs(value - middle) / half, deviation)


def _anomalies(analysis: Analysis) -> list[JsonObject]:
    return [
        {
            "factor": finding.metric.name,
            "value": finding.value,
            "status": finding.status,
            "deviation": float(_shown(abs(finding.deviation))),
            "message": f"{finding.metric.title}: {_advice(finding)}",
        }
        for finding in analysis.findings
        if finding.deviation
    ]


def _status(index: float) -> str:
    return next(status for status, least in STATUS_BANDS.items() if index >= least)


def _name(finding: Finding | None) -> str | None:
    return finding and finding.metric.name


def _factor(finding: Finding) -> JsonObject:
    metric = finding.metric
    return {
        "factor": metric.name,
        "title": metric.title,
        "value": finding.value,
        "unit": metric.unit,
        "ideal": _ideal(metric),
        "score": round(finding.score, 1),
        "status": finding.status,
        "advice": _advice(finding),
    }


def _edges(metric: Metric) -> tuple[float, float]:
    return metric.ideal or (-math.inf, math.inf)  # every factor has a band


def _ideal(metric: Metric) -> JsonObject:
    low, high = _edges(metric)
    return {"min": low, "max": high}


def _advice(finding: Finding) -> str:
    metric = finding.metric
    if not finding.deviation:
        return _place_within(finding)
    low, high = _edges(metric)
    value, band = (
        _quantity(_shown(finding.value), metric),
        _quantity(f"{_shown(low)} to {_shown(high)}", metric),
    )
    side, advice = (
        ("below", metric.advice.low) if finding.deviation < 0 else ("above", metric.advice.high)
    )
    text = f"{value} is {_shown(abs(finding.deviation))} {side} the ideal {band}."
    return f"{text} {advice.rstrip('.')}." if advice else text


def _place_within(finding: Finding) -> str:
    low, high = _edges(finding.metric)
    distance = float(_shown(finding.value - (low / 2 + high / 2)))
    if not distance:
        return "In the middle of the ideal band"
    side = "above" if distance > 0 else "below"
    amount = _quantity(_shown(abs(distance)), finding.metric)
    return f"Within the ideal band, {amount} {side} its middle"


def _quantity(number: str, metric: Metric) -> str:
    return f"{number} {metric.unit}" if metric.unit else number


def _shown(number: float) -> str:
    """Return a number without the last digits, which show binary fractions."""
    return f"{number:.9g}"
