"""`/api/health` and `/api/streams`: the backend about itself."""

from typing import Any

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from config import Settings
from database import Database
from routes.answers import Error, Health, StreamsAnswer
from services import status
from streams.declaration import Streams
from streams.stream import Stream

Answer = dict[str, Any]


def blueprint(settings: Settings, streams: Streams, database: Database) -> APIBlueprint:
    """The endpoints."""
    api = APIBlueprint("system", __name__, abp_tags=[Tag(name="system")], abp_responses={400: Error})

    @api.get("/health", responses={200: Health, 503: Health})
    @api.get("/api/health", responses={200: Health, 503: Health})
    def health() -> tuple[Answer, int]:
        """How the backend is: 200 healthy or degraded (it says what and since when), 503 without the database."""
        told = status.health(settings, database)
        return told, 503 if told["status"] == "unhealthy" else 200

    @api.get("/api/streams", responses={200: StreamsAnswer})
    def declared() -> Answer:
        """The declared streams."""
        listed = [_stream(stream) for stream in streams]
        return {"count": len(listed), "streams": listed}

    return api


def _stream(stream: Stream) -> Answer:
    names = ("name", "title", "unit", "type", "required", "plural")
    return {
        "name": stream.name,
        "title": stream.title,
        "topic": str(stream.topic),
        "device": stream.device,
        "timestamp_required": stream.timestamp.required,
        "metrics": [{name: getattr(metric, name) for name in names} for metric in stream.metrics],
        "url": f"/api/{stream.name}",
    }
