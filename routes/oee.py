"""`/api/<stream>/oee`: the overall equipment effectiveness (OEE) of a machine."""

from collections.abc import Sequence
from typing import Annotated

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import AfterValidator, Field, WithJsonSchema

import services.oee
from database import Database
from routes.answers import Error, Rfc3339
from routes.arguments import SpanQuery
from routes.heavy import take_turn
from routes.schemas import Described
from services.oee import Effectiveness
from services.serializers import rounded
from streams.stream import Oee, Stream
from utils import calendar, clock
from utils.calendar import Span
from utils.json_types import JsonObject


def _shift(text: str) -> str:
    calendar.shift(text)
    return text


Shift = Annotated[
    str,
    AfterValidator(_shift),
    WithJsonSchema({"type": "string", "examples": ["06:00-14:00", "22:00-06:00"]}),
]
Percent = Annotated[float | None, Field(description="Percent; null if unknown.")]


class OeeQuery(SpanQuery):
    """Select a machine, a time range and the hours of each day."""

    shift: Shift | None = Field(
        None, description="Only these hours of each day, in local time of `tz`."
    )

    def spans(self, span: Span) -> Sequence[Span]:
        """Return the parts of a span that count."""
        if self.shift is None:
            return [span]
        return list(calendar.shift(self.shift).within(span, self.zone))


class OeeSeconds(Described):
    """Seconds of the time range, with a known state, and in which the machine produced."""

    window: float
    known: float
    running: float


class OeeAnswer(Described):
    """The overall equipment effectiveness of a machine."""

    device_id: str
    start: Rfc3339 = Field(alias="from")
    end: Rfc3339 = Field(alias="to")
    tz: str
    shift: str | None
    availability: Percent
    performance: Percent
    quality: Percent
    oee: Percent
    coverage: float = Field(description="Percentage of the time with a known state.")
    gap: float = Field(description="Seconds; the state between readings further apart is unknown.")
    states: dict[str, float] = Field(description="Seconds in each state.")
    seconds: OeeSeconds
    notes: list[str] = Field(description="Possible errors in the readings or the declaration.")


def blueprint(stream: Stream, oee: Oee, database: Database) -> APIBlueprint:
    """Return the endpoint of one stream."""
    api = APIBlueprint(
        f"oee-{stream.name}",
        __name__,
        url_prefix=f"/api/{stream.name}",
        abp_tags=[Tag(name=stream.name)],
    )
    table = database.tables[stream.name]

    @api.get("/oee", responses={200: OeeAnswer, 400: Error, 503: Error})
    def figures(query: OeeQuery) -> JsonObject:
        """Availability, performance, quality and their product, the OEE, of a machine."""
        span = query.span()
        take_turn()
        with database.read() as reader:
            found = services.oee.measured(
                reader, table, oee, query.device_id, span, spans=query.spans(span)
            )
        asked = {
            "device_id": query.device_id,
            "from": clock.rfc3339(span.start),
            "to": clock.rfc3339(span.end),
        }
        terms = {"tz": query.tz, "shift": query.shift, "gap": oee.gap}
        return {**asked, **terms, **_as_json(found), "notes": services.oee.notes(oee, found)}

    return api


def _as_json(found: Effectiveness) -> JsonObject:
    factors = {
        "availability": found.availability,
        "performance": found.performance,
        "quality": found.quality,
    }
    percent = {**factors, "oee": found.oee, "coverage": found.coverage}
    seconds = {"window": found.window, "known": found.known, "running": found.running}
    return {
        **{name: rounded(value, 2) for name, value in percent.items()},
        "states": {state: round(found.states[state], 3) for state in sorted(found.states)},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
