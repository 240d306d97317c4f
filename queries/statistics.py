"""Statements on statistics of readings: count, average, minimum and maximum."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Table, and_, case, cast, func, select
from sqlalchemy.exc import DBAPIError

from queries.readings import TimeFilter, listed
from streams.metric import Metric
from streams.stream import Stream

METRICS_AT_ONCE = 500
"""Metrics per statement: it has at most 1,664 columns in PostgreSQL, and 2,000 in SQLite."""
HUGE = 1e290
"""No table has so many rows that a sum of values up to this limit overflows."""


def stats(reader: Connection, stream: Stream, table: Table, chosen: TimeFilter) -> dict[str, Any]:
    """Return `count`, and `avg_`, `min_` and `max_` of every numeric metric.

    A figure is null where there is no value, or where it is too large for a float.
    """
    metrics = [metric for metric in stream.metrics if metric.is_numeric]
    figures: dict[str, Any] = {}
    for start in range(0, len(metrics), METRICS_AT_ONCE) or [0]:
        some = metrics[start : start + METRICS_AT_ONCE]
        figures |= _figures_of(reader, table, some, chosen)
    return {name: _finite(value) for name, value in figures.items()}


def _figures_of(
    reader: Connection, table: Table, metrics: Sequence[Metric], chosen: TimeFilter
) -> dict[str, Any]:
    """Return the figures of some metrics, even if a sum overflows."""
    try:
        return _figures(reader, table, metrics, chosen)
    except DBAPIError:
        # An overflow is infinity in some databases and an error in others.
        reader.rollback()
        return _figures(reader, table, metrics, chosen, HUGE)


def _figures(
    reader: Connection,
    table: Table,
    metrics: Sequence[Metric],
    chosen: TimeFilter,
    limit: float | None = None,
) -> dict[str, Any]:
    """Return the figures of some metrics; with a limit, no average of metrics that exceed it."""
    columns: list[Any] = [func.count().label("count")]
    for metric in metrics:
        column = _quantity(table.c[metric.name], metric)
        # A sum of integers may overflow, or be a decimal number.
        number = cast(column, Double) if metric.type == "integer" else column
        average = _average(number) if limit is None else _average_within(number, limit)
        figures = {"avg": average, "min": func.min(column), "max": func.max(column)}
        columns += [figure.label(f"{kind}_{metric.name}") for kind, figure in figures.items()]
    query = listed(select(*columns).select_from(table), table, chosen)
    return dict(reader.execute(query).mappings().one())


def _quantity(column: ColumnElement[Any], metric: Metric) -> ColumnElement[Any]:
    """Return a column of numbers; true counts as 1."""
    if metric.type != "boolean":
        return column
    return case((column.is_(None), None), (column, 1.0), else_=0.0)


def _average(column: ColumnElement[float]) -> ColumnElement[Any]:
    # PostgreSQL's avg() squares the values and fails for 1e200.
    return func.sum(column) / func.nullif(func.count(column), 0)


def _average_within(column: ColumnElement[float], limit: float) -> ColumnElement[Any]:
    small = case((column.between(-limit, limit), column))
    average = func.sum(small) / func.nullif(func.count(column), 0)
    return case((and_(func.max(column) <= limit, func.min(column) >= -limit), average))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
