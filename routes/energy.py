"""`/api/<stream>/energy`: energy and cost of a device by hour, day or month."""

from itertools import islice
from typing import Self

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field, model_validator

import services.energy
from database import Database
from routes.answers import Error, Rfc3339
from routes.arguments import SpanQuery
from routes.heavy import take_turn
from routes.schemas import Described
from services.energy import EnergyFigures, Figure, Interval, Method
from services.serializers import rounded
from streams.stream import Energy, Stream
from utils import calendar, clock
from utils.calendar import Span
from utils.json_types import JsonObject

MAX_BUCKETS = 10_000


class EnergyQuery(SpanQuery):
    """Select a device, a time range and the interval of the figures."""

    interval: Interval = Field(
        "day", description="Hours, days or months of the time zone.", examples=["day"]
    )

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        # Only hours can be too many: MAX_SPAN has fewer days than MAX_BUCKETS.
        if self.interval != "hour":
            return self
        hours = islice(calendar.hours(self.span(), self.zone), MAX_BUCKETS + 1)
        if sum(1 for _ in hours) > MAX_BUCKETS:
            advice = "choose day or month, or a shorter time range"
            raise ValueError(f"interval: more than {MAX_BUCKETS} hours; {advice}")
        return self


class EnergyFigure(Described):
    """The energy of a period; null if unknown."""

    energy: float | None = Field(description="Kilowatt-hours.")
    cost: float | None = Field(
        description="In `currency`, with six decimals; null if unknown, or without a tariff."
    )
    coverage: float = Field(
        description="Percentage of the time between readings at most `gap` seconds apart."
    )


class EnergyBucket(EnergyFigure):
    """An hour, a day or a month, cut off at `from` and `to`."""

    start: Rfc3339
    end: Rfc3339
    local: Rfc3339 = Field(description="The start in local time of `tz`.")


class EnergyAnswer(EnergyFigure):
    """The energy of a device: the total, and by hour, day or month, oldest first."""

    device_id: str
    start: Rfc3339 = Field(alias="from")
    end: Rfc3339 = Field(alias="to")
    tz: str
    interval: Interval
    method: Method = Field(description="`counter` (the meter's own), `power`, or `both`, by hour.")
    currency: str | None
    gap: float = Field(
        description="Seconds; power is not integrated between readings further apart."
    )
    data: list[EnergyBucket]


def blueprint(stream: Stream, energy: Energy, database: Database) -> APIBlueprint:
    """Return the endpoint of one stream."""
    api = APIBlueprint(
        f"energy-{stream.name}",
        __name__,
        url_prefix=f"/api/{stream.name}",
        abp_tags=[Tag(name=stream.name)],
    )
    table = database.tables[stream.name]
    currency = energy.tariff.currency if energy.tariff else ""

    @api.get("/energy", responses={200: EnergyAnswer, 400: Error, 503: Error})
    def figures(query: EnergyQuery) -> JsonObject:
        """Energy and cost of a device: the total, and by hour, day or month in a time zone."""
        span = query.span()
        take_turn()
        with database.read() as reader:
            found = services.energy.measured(
                reader,
                table,
                energy,
                query.device_id,
                span,
                zone=query.zone,
                interval=query.interval,
            )
        terms = {"method": found.method, "currency": currency or None, "gap": energy.gap}
        return {**_asked(query, span), **terms, **_as_json(found)}

    return api


def _asked(query: EnergyQuery, span: Span) -> JsonObject:
    return {
        "device_id": query.device_id,
        "from": clock.rfc3339(span.start),
        "to": clock.rfc3339(span.end),
        "tz": query.tz,
        "interval": query.interval,
    }


def _as_json(found: EnergyFigures) -> JsonObject:
    return {**_rounded(found.total), "data": [_bucket(figure) for figure in found.buckets]}


def _bucket(figure: Figure) -> JsonObject:
    times = {"start": clock.rfc3339(figure.span.start), "end": clock.rfc3339(figure.span.end)}
    return {**times, "local": figure.local.isoformat(timespec="microseconds"), **_rounded(figure)}


def _rounded(figure: Figure) -> JsonObject:
    return {
        "energy": rounded(figure.energy, 6),
        # As many decimals as the energy, so that the costs of the parts add up to the total.
        "cost": rounded(figure.cost, 6),
        "coverage": rounded(figure.coverage, 2),
    }
