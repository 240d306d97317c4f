"""`/api/<stream>/…`: the readings of one declared stream."""

from typing import Any

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from werkzeug.exceptions import BadRequest

import queries.readings
from database import Database
from routes.answers import DevicesAnswer, Error, NotFound, SubmissionAnswer, stream_answers
from routes.arguments import DeviceQuery, MlQuery, ReadingsQuery, SubmissionQuery, WindowQuery
from routes.heavy import take_turn
from services import documents, health_index
from services.submissions import Submissions
from streams.stream import Stream
from utils import clock

Answer = dict[str, Any]
NO_FACTORS = (
    "health: the stream {stream} has no ideal bands. Declare at least one in {stream}.toml, "
    "such as ideal = [15, 30] under [metrics.{metric}]"
)


def blueprint(stream: Stream, database: Database, submissions: Submissions) -> APIBlueprint:
    """The endpoints of one stream."""
    api = APIBlueprint(
        f"stream-{stream.name}",  # no name that another blueprint has
        __name__,
        url_prefix=f"/api/{stream.name}",
        abp_tags=[Tag(name=stream.name, description=stream.title)],
        abp_responses={400: Error, 503: Error},
    )
    _add_reading_endpoints(api, stream, database)
    _add_summary_endpoints(api, stream, database)

    @api.post("/readings", responses={201: SubmissionAnswer, 413: Error, 415: Error}, request_body=_body(stream))
    def readings(query: SubmissionQuery) -> tuple[Answer, int]:
        """Store one payload as a device would publish it, or an array of up to 10,000."""
        receipt = submissions.submit(stream, request.get_data(), query.device_id, query.metric)
        errors = [{"index": i, "reason": item.reason, "message": item.sentence} for i, item in receipt.rejections]
        counts = {"stored": receipt.stored, "duplicate": receipt.duplicate, "rejected": len(errors)}
        return {**counts, "errors": errors}, 201

    return api


def _add_reading_endpoints(api: APIBlueprint, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]
    answers = stream_answers(stream)

    @api.get("/latest", responses={200: answers["latest"], 404: NotFound})
    def latest(query: DeviceQuery) -> tuple[Answer, int]:
        """The newest reading."""
        with database.reader() as reader:
            row = queries.readings.latest(reader, table, query.device_id)
        if row is None:
            return {"message": f"No {table.name.replace('_', ' ')} found", "device_id": query.device_id}, 404
        return {"data": documents.reading(row)}, 200

    @api.get("/history", responses={200: answers["history"]})
    def history(query: ReadingsQuery) -> Answer:
        """Readings, newest first."""
        if query.health and not stream.factors:
            raise BadRequest(NO_FACTORS.format(stream=stream.name, metric=stream.metrics[0].name))
        take_turn(query.limit + query.offset)
        with database.reader() as reader:
            rows = queries.readings.history(reader, table, query.window(), query.limit, query.offset)
            data = [documents.reading(row) for row in rows]
        if query.health:
            data = [item | {"health": health_index.summary(health_index.analyse(stream, item))} for item in data]
        page = {"limit": query.limit, "offset": query.offset, "device_id": query.device_id}
        return {"count": len(data), **page, "data": data}

    @api.get("/ml-data", responses={200: answers["ml-data"]})
    def ml_data(query: MlQuery) -> Answer:
        """The newest samples as columns, oldest first: ready for numpy."""
        take_turn(query.limit)
        with database.reader() as reader:
            rows = queries.readings.ml_data(reader, stream, table, query.window(), query.limit)
        columns = list(zip(*rows, strict=True)) or [()] * (2 + len(stream.metrics))
        data: Answer = {"timestamps": [clock.rfc3339(moment) for moment in columns[0]], "device_ids": list(columns[1])}
        data |= {metric.plural: list(column) for metric, column in zip(stream.metrics, columns[2:], strict=True)}
        return {"sample_count": len(rows), "device_id": query.device_id, "data": data}


def _add_summary_endpoints(api: APIBlueprint, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]

    @api.get("/stats", responses={200: stream_answers(stream)["stats"]})
    def stats(query: WindowQuery) -> Answer:
        """Count, average, minimum and maximum of every numeric metric."""
        take_turn()
        with database.reader() as reader:
            figures = queries.readings.stats(reader, stream, table, query.window())
        return {"stats": figures, "device_id": query.device_id}

    @api.get("/devices", responses={200: DevicesAnswer})
    def devices() -> Answer:
        """Every device: the times of its first and last reading, and whether it is online."""
        with database.reader() as reader:
            rows = queries.readings.devices(reader, stream.name, table)
        now = clock.now()
        listed = [documents.device(row, now) for row in rows]
        return {"count": len(listed), "devices": listed}


def _body(stream: Stream) -> Answer:
    payload = payload_schema(stream, stream.values)
    if stream.topic.has_metric:
        bare: Answer = {"anyOf": [{"type": "number"}, {"type": "string"}]}
        single = {"type": "object", "properties": {**payload["properties"], "value": bare}, "required": ["value"]}
        payload = {"anyOf": [bare, single, payload]}
    return json_body({"anyOf": [payload, {"type": "array", "items": payload, "minItems": 1, "maxItems": 10_000}]})


def payload_schema(stream: Stream, values: str) -> Answer:
    """The JSON schema of a reading's payload with the metrics nested under `values`, or at the top if that is empty."""
    metrics = {metric.name: {"type": "number" if metric.type == "number" else "string"} for metric in stream.metrics}
    properties: Answer = {values: {"type": "object", "properties": metrics}} if values else metrics
    time = {"anyOf": [{"type": "string"}, {"type": "number"}]}
    own = {stream.device: {"type": "string"}, stream.timestamp.field: time}
    return {"type": "object", "properties": properties | own}


def json_body(schema: Answer) -> Answer:
    """The description of a body for the OpenAPI document."""
    return {"required": True, "content": {"application/json": {"schema": schema}}}
