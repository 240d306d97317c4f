"""`/api/mqtt/…`: the endpoints of PELBIOT, on the stream `panels`."""

import json
from typing import Annotated

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import AfterValidator, ConfigDict, Field, JsonValue

import queries.newest
from broker.publisher import Publisher
from config import Settings
from database import Database
from ingest.json_payloads import MAX_PAYLOAD
from integrations.pelbiot.topic_values import TopicValues, UnknownTopic
from routes.answers import Error, Rfc3339
from routes.arguments import Body, DeviceQuery
from routes.fields import Topic, Whole
from routes.heavy import take_turn
from routes.schemas import Described
from services import serializers, status
from streams.metric import Value
from streams.registry import Streams
from streams.stream import Stream
from utils.identity import device_id_fault, nesting_fault
from utils.json_types import JsonObject

CLIENT_ID = "autoforge"
"""The client id shown: the real one would let anyone take over the session at the broker."""


def _payload(message: JsonValue) -> bytes:
    if isinstance(message, str):
        return message.encode()
    return json.dumps(message, allow_nan=False).encode()


def _publishable(message: JsonValue) -> JsonValue:
    """Validate that a message can be the payload of a reading. Raises ValueError."""
    if error := nesting_fault(message):
        raise ValueError(error)
    size = len(_payload(message))
    if size > MAX_PAYLOAD:
        raise ValueError(f"{size} bytes; at most {MAX_PAYLOAD} are allowed")
    return message


class TopicPath(Described):
    """Select a topic."""

    topic: Topic


class TopicHistoryQuery(DeviceQuery):
    """Select the newest messages."""

    topic: Topic | None = Field(None, description="Only this topic.")
    limit: Whole = Field(100, ge=1, le=10_000, description="At most this many.", examples=[100])


class PublishBody(Body):
    """A message for a topic."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"topic": "panel/trafo1/volt", "message": 230.45}]}
    )

    topic: Topic
    message: Annotated[JsonValue, AfterValidator(_publishable)] = Field(
        description="A text is published as is, anything else as JSON."
    )

    def payload(self) -> bytes:
        """Return the bytes to publish."""
        return _payload(self.message)


class TopicMessage(Described):
    """A value in the form of its topic; null if none has arrived."""

    topic: str
    value: Value | None
    timestamp: Rfc3339 | None


class MqttStatus(Described):
    """The state of the connection, and counts of received messages."""

    connected: bool
    clientId: str  # noqa: N815 - the names of PELBIOT's frontend
    subscriptions: list[str]
    messageCount: int  # noqa: N815 - likewise
    messagesPerSecond: float | None = Field(  # noqa: N815 - likewise
        description="The rate in the last minute."
    )
    processingTime: float | None = Field(  # noqa: N815 - likewise
        description="Milliseconds to store a message."
    )
    bufferSize: int = Field(  # noqa: N815 - likewise
        description="Messages waiting for the database."
    )
    uptime: float | None = Field(
        description="Seconds since it has been connected; null without a connection."
    )
    errors: int = Field(description="Rejected messages, see /api/rejected.")
    error: str | None
    broker: str
    lastMessage: TopicMessage | None  # noqa: N815 - likewise


class Published(Described):
    """The published message."""

    success: bool
    topic: str
    message: JsonValue


def fits(stream: Stream) -> bool:
    """Return whether a stream has the topics of these endpoints."""
    return stream.topic.has_metric


def blueprint(
    settings: Settings, streams: Streams, stream: Stream, database: Database, publisher: Publisher
) -> APIBlueprint:
    """Return the endpoints."""
    api = APIBlueprint(
        "pelbiot",
        __name__,
        url_prefix="/api/mqtt",
        abp_tags=[Tag(name="pelbiot", description="The endpoints of PELBIOT")],
        abp_responses={400: Error, 503: Error},
    )
    values = TopicValues(streams, stream, database)
    _add_state(api, settings, stream, database)
    _add_values(api, values)

    @api.post("/publish", responses={200: Published, 413: Error, 415: Error})
    def publish(body: PublishBody) -> tuple[JsonObject, int]:
        """Publish a message on a topic of a declared stream."""
        if error := _topic_error(streams, body.topic):
            return {"message": f"topic: {error}"}, 400
        publisher.publish(body.topic, body.payload())
        return {"success": True, "topic": body.topic, "message": body.message}, 200

    @api.errorhandler(UnknownTopic)
    def unknown_topic(error: UnknownTopic) -> tuple[JsonObject, int]:
        return {"message": str(error)}, 404

    return api


def _topic_error(streams: Streams, topic: str) -> str | None:
    found = streams.match(topic)
    if found is None:
        allowed = ", ".join(str(declared.topic) for declared in streams)
        return f"{topic} belongs to no declared stream; allowed are: {allowed}"
    return None if found.device_id is None else device_id_fault(found.device_id)


def _add_state(api: APIBlueprint, settings: Settings, stream: Stream, database: Database) -> None:
    @api.get("/status", responses={200: MqttStatus})
    def state() -> JsonObject:
        """The connection to the broker, and the rate of messages."""
        ingestion = status.ingestion(settings, database)
        return {
            "connected": ingestion["connected"] and ingestion["subscribed"],
            "clientId": CLIENT_ID,
            "subscriptions": stream.topic.subscriptions(),
            "messageCount": ingestion["received"],
            "messagesPerSecond": ingestion["messages_per_second"],
            "processingTime": ingestion["processing_ms"],
            "bufferSize": ingestion["waiting"],
            "uptime": ingestion["uptime"],
            "errors": ingestion["rejected"],
            "error": ingestion["problem"],
            "broker": ingestion["broker"],
            "lastMessage": _last_message(stream, database),
        }

    @api.get("/topics", responses={200: {"content": {"application/json": {"schema": _TOPICS}}}})
    def topics() -> list[str]:
        """The subscribed topics."""
        return stream.topic.subscriptions()


def _last_message(stream: Stream, database: Database) -> JsonObject | None:
    """Return the newest message of the panel heard last, or None."""
    with database.read() as reader:
        row = queries.newest.of_heard_last(reader, stream.name, database.tables[stream.name])
    if row is None:
        return None
    present = (metric for metric in stream.metrics if row[metric.name] is not None)
    return next((serializers.message(stream, metric, row) for metric in present), None)


def _add_values(api: APIBlueprint, values: TopicValues) -> None:
    @api.get(
        "/last-values",
        responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    )
    def last_values(query: DeviceQuery) -> JsonObject:
        """The newest value of every metric, of one panel or of all; null without a value."""
        return values.newest(query.device_id)

    @api.get(
        "/history",
        responses={200: {"content": {"application/json": {"schema": _MESSAGES}}}, 404: Error},
    )
    def history(query: TopicHistoryQuery) -> list[JsonObject]:
        """Messages of one topic or of all, newest first."""
        if query.topic is not None:
            take_turn()  # a rare metric makes the query scan all readings
        return values.history(query.topic, query.device_id, query.limit)

    @api.get("/last-value/<path:topic>", responses={200: TopicMessage, 404: Error})
    def last_value(path: TopicPath) -> JsonObject:
        """The newest value of a topic; null if none has arrived."""
        return values.last(path.topic)


_TOPICS: JsonObject = {"type": "array", "items": {"type": "string"}}
_MESSAGES: JsonObject = {"type": "array", "items": TopicMessage.model_json_schema()}
