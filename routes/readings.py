"""`/api/<stream>/…`: the readings of one declared stream."""

from typing import Any, assert_never, get_args

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from werkzeug.exceptions import BadRequest

import queries.clocks
import queries.quality
import queries.readings
import queries.rest_fields
import queries.statistics
from database import Database
from ingest.json_payloads import MAX_READINGS
from ingest.read_back import unwritable
from routes.answers import (
    ClocksAnswer,
    DevicesAnswer,
    Error,
    NotFound,
    QualityAnswer,
    RefusedSubmission,
    SubmissionAnswer,
)
from routes.arguments import (
    ClocksQuery,
    DeviceQuery,
    MetricSubmissionQuery,
    MlQuery,
    ReadingsQuery,
    RequestKeyHeader,
    SubmissionQuery,
    TimeRangeQuery,
)
from routes.heavy import take_turn
from routes.stream_answers import stream_answers
from services import (
    device_clocks,
    health_index,
    ml_columns,
    newest,
    rest_figures,
    serializers,
)
from services.known_devices import KnownDevices
from services.submissions import Receipt, Submissions
from streams.metric import MetricType
from streams.sample_values import average_values
from streams.stream import Stream
from streams.writing import PayloadWriter
from utils import clock
from utils.json_types import JsonObject

NO_FACTORS = (
    "health: the stream {stream} has no ideal bands. Declare at least one in {stream}.toml, "
    "such as ideal = [15, 30] under [metrics.{metric}]"
)


def blueprint(
    stream: Stream, database: Database, submissions: Submissions, known: KnownDevices
) -> APIBlueprint:
    """Return the endpoints of one stream."""
    api = APIBlueprint(
        f"stream-{stream.name}",  # a name that no other blueprint has
        __name__,
        url_prefix=f"/api/{stream.name}",
        abp_tags=[Tag(name=stream.name, description=stream.title)],
        abp_responses={400: Error, 503: Error},
    )
    _add_latest(api, stream, database, known)
    _add_reading_endpoints(api, stream, database)
    _add_summary_endpoints(api, stream, database)
    _add_quality(api, stream, database)
    _add_submission(api, stream, submissions)
    return api


def _add_submission(api: APIBlueprint, stream: Stream, submissions: Submissions) -> None:
    answers: dict[Any, Any] = {201: SubmissionAnswer, 207: SubmissionAnswer, 400: RefusedSubmission}
    answers |= {413: Error, 415: Error, 422: Error}

    def of_all(query: SubmissionQuery, header: RequestKeyHeader) -> tuple[JsonObject, int]:
        """Store one payload as a device would publish it, or an array of up to 10,000."""
        body = request.get_data()
        return posted(submissions.submit(stream, body, query.device_id, None, header.key))

    def of_metric(query: MetricSubmissionQuery, header: RequestKeyHeader) -> tuple[JsonObject, int]:
        """Store one payload as a device would publish it, or an array of up to 10,000."""
        body = request.get_data()
        return posted(submissions.submit(stream, body, query.device_id, query.metric, header.key))

    take = of_metric if stream.topic.has_metric else of_all
    api.post("/readings", responses=answers, request_body=_body(stream), endpoint="readings")(take)


def posted(receipt: Receipt) -> tuple[JsonObject, int]:
    """Return the outcome of a submission and the status.

    201 if nothing was rejected, 400 if everything was, otherwise 207.
    """
    errors = [
        {"index": i, "reason": item.reason, "message": item.text} for i, item in receipt.rejections
    ]
    counts = {"stored": receipt.stored, "duplicate": receipt.duplicate, "rejected": len(errors)}
    if receipt.ignored:
        counts["ignored"] = receipt.ignored
    if receipt.of_several is not None:
        counts["readings"] = receipt.of_several.accepted
    answer: JsonObject = {**counts, "errors": errors}
    if not errors:
        return answer, 201
    if receipt.stored or receipt.duplicate or receipt.ignored or counts.get("readings"):
        return answer, 207
    which = f"All {len(errors)} readings were rejected; the first"
    if len(errors) == 1:
        which = "The reading was rejected"
    return {"message": f"{which}: {errors[0]['message']}", **answer}, 400


def _add_latest(api: APIBlueprint, stream: Stream, database: Database, known: KnownDevices) -> None:
    table = database.tables[stream.name]

    @api.get("/latest", responses={200: stream_answers(stream)["latest"], 404: NotFound})
    def latest(query: DeviceQuery) -> tuple[JsonObject, int]:
        """The newest reading."""
        with database.read() as reader:
            found = newest.reading(reader, stream, table, query.device_id)
            if found is not None:
                return {"data": found}, 200
            alike = known.similar(reader, stream.name, query.device_id) if query.device_id else []
        nothing = {
            "message": f"No {table.name.replace('_', ' ')} found",
            "device_id": query.device_id,
        }
        return nothing | ({"similar": alike} if alike else {}), 404


def _add_reading_endpoints(api: APIBlueprint, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]
    answers = stream_answers(stream)

    @api.get("/history", responses={200: answers["history"]})
    def history(query: ReadingsQuery) -> JsonObject:
        """Readings, newest first."""
        if query.health and not stream.factors:
            metric = stream.metrics[0].name if stream.metrics else "NAME"
            raise BadRequest(NO_FACTORS.format(stream=stream.name, metric=metric))
        take_turn(query.limit + query.offset)
        with database.read() as reader:
            rows = queries.readings.history(
                reader, table, query.filter(), query.limit, query.offset
            )
            data = [serializers.reading(row) for row in rows]
        if query.health:
            data = [
                item | {"health": health_index.summary(health_index.analyse(stream, item))}
                for item in data
            ]
        page = {"limit": query.limit, "offset": query.offset, "device_id": query.device_id}
        return {"count": len(data), **page, "data": data}

    @api.get("/ml-data", responses={200: answers["ml-data"]})
    def ml_data(query: MlQuery) -> JsonObject:
        """The newest samples as columns, oldest first: ready for numpy."""
        take_turn(query.limit)
        with database.read() as reader:
            rows = queries.readings.ml_data(reader, stream, table, query.filter(), query.limit)
        data = ml_columns.columns(stream, rows)
        return {"sample_count": len(rows), "device_id": query.device_id, "data": data}


def _add_summary_endpoints(api: APIBlueprint, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]

    @api.get("/stats", responses={200: stream_answers(stream)["stats"]})
    def stats(query: TimeRangeQuery) -> JsonObject:
        """Count, average, minimum and maximum of every numeric metric."""
        take_turn()
        with database.read() as reader:
            figures = queries.statistics.stats(reader, stream, table, query.filter())
            if stream.keeps_rest:
                figures |= rest_figures.stats(
                    queries.rest_fields.rests(reader, table, query.filter())
                )
        return {"stats": figures, "device_id": query.device_id}

    @api.get("/devices", responses={200: DevicesAnswer})
    def devices() -> JsonObject:
        """Every device: the times of its first and last reading, and whether it is online."""
        with database.read() as reader:
            has_presence = stream.presence is not None
            rows = queries.readings.devices(reader, stream.name, table, has_presence=has_presence)
        now = clock.now()
        listed = [serializers.device(row, now) for row in rows]
        return {"count": len(listed), "devices": listed}

    @api.get("/clocks", responses={200: ClocksAnswer})
    def clocks(query: ClocksQuery) -> JsonObject:
        """How far the clock of each device is off, and what would mend it."""
        take_turn(device_clocks.ROWS * (query.limit if query.device_id is None else 1))
        page = query.model_dump()
        with database.read() as reader:
            devices = queries.clocks.devices(reader, stream.name, **page)
            data = device_clocks.judged(reader, stream, table, devices)
        return {"count": len(data), **page, "data": data}


def _add_quality(api: APIBlueprint, stream: Stream, database: Database) -> None:
    @api.get("/quality", responses={200: QualityAnswer})
    def quality(query: DeviceQuery) -> JsonObject:
        """How often devices sent no value of an optional metric, or one that is unreadable."""
        take_turn()
        with database.read() as reader:
            rows = queries.quality.quality(reader, stream, query.device_id)
        return {"data": [dict(row) | {"last_at": clock.rfc3339(row["last_at"])} for row in rows]}


def _body(stream: Stream) -> JsonObject:
    example = example_payload(stream, stream.values)
    payload = payload_schema(stream, stream.values)
    if stream.topic.has_metric:
        bare: JsonObject = {"anyOf": [_value_schema(kind) for kind in get_args(MetricType)]}
        single = {
            "type": "object",
            "properties": {**payload["properties"], "value": bare},
            "required": ["value"],
        }
        payload = {"anyOf": [bare, single, payload]}
    if isinstance(example, list):
        # An array is several payloads, so a payload that is an array stands in one.
        payload = {"anyOf": [{"type": "array", "items": {}}, payload]}
    array = {"type": "array", "items": payload, "minItems": 1, "maxItems": MAX_READINGS}
    body: JsonObject = {"anyOf": [payload, array]}
    if example is not None:
        body["examples"] = [[example]] if isinstance(example, list) else [example, [example]]
    return json_body(body)


def _value_schema(kind: MetricType) -> JsonObject:
    match kind:
        case "number":
            return {"type": "number"}
        case "text":
            return {"type": "string"}
        case "boolean":
            return {"type": "boolean"}
        case "integer":
            return {"type": "integer"}
        case _:
            assert_never(kind)


def payload_schema(stream: Stream, values: str) -> JsonObject:
    """Return the JSON schema of a payload, with the metrics under `values` unless it is empty."""
    if not stream.is_plain:
        return {"type": "object", "properties": {}}
    metrics = {metric.name: _value_schema(metric.type) for metric in stream.metrics}
    required = [metric.name for metric in stream.metrics if metric.required]
    schema: JsonObject = {"type": "object", "properties": metrics, "required": required}
    time: JsonObject = {"anyOf": [{"type": "string"}, {"type": "number"}]}
    own = {stream.timestamp.name: time}
    if stream.device:
        own[stream.device] = {"type": "string"}
    needed = [stream.timestamp.name] if stream.timestamp.required else []
    if values:
        return {
            "type": "object",
            "properties": {values: schema} | own,
            "required": [values, *needed],
        }
    return {"type": "object", "properties": metrics | own, "required": [*required, *needed]}


def example_payload(stream: Stream, values: str) -> Any:
    """Return an example payload, with the metrics under `values` unless it is empty.

    It is None for a stream whose payloads cannot be written.
    """
    measured = average_values(stream)
    device = (stream.simulate.names or f"{stream.name}_{{:03}}").format(1)
    time = "2026-01-29T14:30:45.123Z"
    if not stream.is_plain:
        if unwritable(stream):
            return None
        return PayloadWriter(stream).payload(measured, clock.parse(time), device)
    own = {stream.device: device} if stream.device else {}
    own[stream.timestamp.name] = time
    return own | ({values: measured} if values else measured)


def json_body(schema: JsonObject, *, required: bool = True) -> JsonObject:
    """Return the description of a body for the OpenAPI document."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}
