"""`/api/soil-health`: the endpoints of Harit Samarth, on the stream `soil`."""

from typing import Any, Literal

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field

import queries.readings
from database import Database
from ingest.json_payloads import MAX_READINGS
from integrations.harit_samarth.analysis import SoilHealth
from routes.answers import Error, RejectedItem, Rfc3339
from routes.arguments import HistoryQuery
from routes.heavy import take_turn
from routes.readings import example_payload, json_body, payload_schema
from routes.schemas import Described
from services import health_index, serializers
from services.submissions import Submissions
from streams.stream import Stream
from utils.json_types import JsonObject


class Anomaly(Described):
    """A value outside its ideal band."""

    factor: str
    value: float
    status: Literal["low", "high"]
    deviation: float = Field(description="Distance to the band, in the factor's unit.")
    message: str


class Band(Described):
    """An ideal band."""

    min: float
    max: float


class Factor(Described):
    """The contribution of one value."""

    factor: str
    title: str
    value: float
    unit: str
    ideal: Band
    score: float = Field(description="100 in the middle of the band, 37 at its edges.")
    status: Literal["ideal", "low", "high"]
    advice: str


class AnalysisDocument(Described):
    """The health of a reading."""

    success: Literal[True]
    health_index: float | None
    status: str | None
    anomalies: list[Anomaly]
    limiting: str | None = Field(description="The factor with the lowest score.")
    missing: list[str]
    factors: list[Factor]
    device_id: str
    timestamp: Rfc3339


class AnalysisAnswer(AnalysisDocument):
    """The health of a stored reading."""

    stored: bool = Field(description="False if the reading was already stored.")


class AnalysedItem(AnalysisDocument):
    """The health of one reading of a batch."""

    index: int


class NotAnalysedItem(RejectedItem):
    """Why one reading of a batch was not stored."""

    success: Literal[False]


class BatchAnswer(Described):
    """The counts, and for each reading its analysis or the reason for its rejection."""

    success: bool
    count: int
    stored: int
    duplicate: int
    rejected: int
    results: list[AnalysedItem | NotAnalysedItem]


class AnalysedReading(Described):
    """A stored reading with its analysis, next to its metrics."""

    id: int
    device_id: str
    timestamp: Rfc3339
    health_index: float | None
    status: str | None
    anomalies: list[Anomaly]


class AnalysedHistory(Described):
    """Readings with analysis, newest first."""

    success: bool
    count: int
    limit: int
    offset: int
    device_id: str | None
    data: list[AnalysedReading]


class Range(Band):
    """The ideal band of a factor, and its weight."""

    unit: str
    title: str
    weight: float


class RangesAnswer(Described):
    """The ideal bands, and the lowest index of each status."""

    success: bool
    ranges: dict[str, Range]
    status_bands: dict[str, float]


class NotAnalysed(Error):
    """Why a reading was not stored."""

    success: bool = False
    reason: str | None = None


def blueprint(stream: Stream, database: Database, submissions: Submissions) -> APIBlueprint:
    """Return the endpoints."""
    api = APIBlueprint(
        "soil-health",
        __name__,
        url_prefix="/api/soil-health",
        abp_tags=[Tag(name="soil-health", description="The endpoints of Harit Samarth")],
        abp_responses={503: Error},
    )
    _add_analyses(api, stream, SoilHealth(stream, submissions))
    _add_lookups(api, stream, database)
    return api


def _add_analyses(api: APIBlueprint, stream: Stream, soil: SoilHealth) -> None:
    reading = {"anyOf": [payload_schema(stream, ""), payload_schema(stream, stream.values)]}
    array = {"type": "array", "items": reading, "minItems": 1, "maxItems": MAX_READINGS}
    wrapped = {"type": "object", "properties": {"readings": array}, "required": ["readings"]}
    example = example_payload(stream, "")
    one = reading | {"examples": [example, example_payload(stream, stream.values)]}
    several = {"anyOf": [array, wrapped], "examples": [[example]]}
    errors: dict[Any, Any] = {400: NotAnalysed, 413: Error, 415: Error}

    @api.post("/analyze", responses=errors | {200: AnalysisAnswer}, request_body=json_body(one))
    def analyze() -> tuple[JsonObject, int]:
        """Store one reading, bare or as a device would publish it, and return its health."""
        answer = soil.analyse(request.get_data())
        return answer, 200 if answer["success"] else 400

    @api.post(
        "/batch-analyze",
        responses=errors | {200: BatchAnswer},
        request_body=json_body(several),
    )
    def batch_analyze() -> JsonObject:
        """Store up to 10,000 readings; rejected ones do not affect the others."""
        return soil.analyse_all(request.get_data())


def _add_lookups(api: APIBlueprint, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]

    @api.get("/history", responses={200: AnalysedHistory, 400: Error})
    def history(query: HistoryQuery) -> JsonObject:
        """Readings with their analysis, newest first."""
        take_turn(query.limit + query.offset)
        with database.read() as reader:
            rows = queries.readings.history(
                reader, table, query.filter(), query.limit, query.offset
            )
            data = [serializers.reading(row) for row in rows]
        data = [item | health_index.diagnosis(health_index.analyse(stream, item)) for item in data]
        page = {"limit": query.limit, "offset": query.offset, "device_id": query.device_id}
        return {"success": True, "count": len(data), **page, "data": data}

    @api.get("/optimal-ranges", responses={200: RangesAnswer})
    def optimal_ranges() -> JsonObject:
        """The ideal band of every factor, and the meaning of the health index."""
        ranges = health_index.ideal_ranges(stream)
        return {"success": True, "ranges": ranges, "status_bands": health_index.STATUS_BANDS}
