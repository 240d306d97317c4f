"""Models of a stream's responses, made from its declaration."""

import functools
from typing import Annotated, Any, assert_never

from pydantic import BaseModel, ConfigDict, Field, create_model

from routes.answers import Rfc3339
from routes.schemas import Described
from streams.metric import Metric
from streams.stream import Stream


class Open(Described):
    """An answer that also has the fields that no metric takes, by their names."""

    model_config = ConfigDict(extra="allow")


class HealthSummary(Described):
    """The health index of a reading; null without a metric that has an ideal band."""

    index: float | None
    status: str | None
    limiting: str | None = Field(description="The metric with the lowest score.")


def _reading_fields(stream: Stream) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        metric.name: (_value_type(metric), Field(description=_description(metric)))
        for metric in stream.metrics
    }
    own: dict[str, Any] = {
        "id": (int, ...),
        "device_id": (str, ...),
        "timestamp": (Rfc3339, ...),
        "device_timestamp": (
            str | None,
            Field(description="The device's own time, if it was not plausible."),
        ),
        "created_at": (Rfc3339, ...),
    }
    return own | metrics


def reading_model(stream: Stream) -> type[BaseModel]:
    """Return the model of one stored reading of a stream."""
    return _model(stream, "Reading", _reading_fields(stream))


def _listed_model(stream: Stream) -> type[BaseModel]:
    """Return the model of a reading in a history, with its optional health."""
    health: dict[str, Any] = {
        "health": (HealthSummary, Field(None, description="With `health=1`."))
    }
    return _model(
        stream, "ListedReading", _reading_fields(stream) | (health if stream.factors else {})
    )


def _latest_model(stream: Stream) -> type[BaseModel]:
    """Return the model of the newest reading where each metric has its own topic."""
    times: Any = dict[str, Rfc3339 | None]
    about = Field(
        description="When the newest value of each metric was measured; null without a value."
    )
    return _model(stream, "LatestReading", _reading_fields(stream) | {"times": (times, about)})


@functools.cache
def stream_answers(stream: Stream) -> dict[str, type[BaseModel]]:
    """Return the models of a stream's responses by endpoint."""
    reading: Any = _latest_model(stream) if stream.topic.has_metric else reading_model(stream)
    listed: Any = _listed_model(stream)
    figures: dict[str, Any] = {
        f"{kind}_{metric.name}": (_figure_type(metric, kind), ...)
        for metric in stream.metrics
        if metric.is_numeric
        for kind in ("avg", "min", "max")
    }
    columns: dict[str, Any] = {
        metric.plural: (list[_value_type(metric)], ...)  # type: ignore[misc]  # made at run time
        for metric in stream.metrics
    }
    columns |= {"timestamps": (list[Rfc3339], ...), "device_ids": (list[str], ...)}
    stats = _model(stream, "Figures", {"count": (int, ...)} | figures)
    data = _model(stream, "Columns", columns)
    device: Any = (str | None, None)
    page: dict[str, Any] = {
        "count": (int, ...),
        "limit": (int, ...),
        "offset": (int, ...),
        "device_id": device,
    }
    return {
        "latest": _made(stream, "Latest", data=(reading, ...)),
        "history": _made(stream, "History", data=(list[listed], ...), **page),
        "stats": _made(stream, "Stats", stats=(stats, ...), device_id=device),
        "ml-data": _made(
            stream, "MlData", sample_count=(int, ...), device_id=device, data=(data, ...)
        ),
    }


def _model(stream: Stream, what: str, fields: dict[str, Any]) -> type[BaseModel]:
    """Return a model whose fields may have any name, even one of pydantic's own attributes."""
    numbered: dict[str, Any] = {
        f"f{index}": (Annotated[kind, Field(alias=name)], default)
        for index, (name, (kind, default)) in enumerate(fields.items())
    }
    base = Open if stream.keeps_rest else Described
    return _made(stream, what, base, **numbered)


def _made(
    stream: Stream, what: str, base: type[BaseModel] = Described, **fields: Any
) -> type[BaseModel]:
    return create_model(f"{stream.name.capitalize()}{what}", __base__=base, **fields)


def _value_type(metric: Metric) -> Any:
    match metric.type:
        case "number":
            return float | None
        case "text":
            return str | None
        case "boolean":
            return bool | None
        case "integer":
            return int | None
        case _:
            assert_never(metric.type)


def _figure_type(metric: Metric, kind: str) -> Any:
    return int | None if metric.type == "integer" and kind != "avg" else float | None


def _description(metric: Metric) -> str:
    return f"{metric.title} [{metric.unit}]" if metric.unit else metric.title
