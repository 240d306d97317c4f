"""`/api/health` and `/api/streams`: the state of the backend and its streams."""

from flask import redirect, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from werkzeug.wrappers import Response

from config import VERSION, Settings
from database import Database
from routes.answers import Error
from routes.system_answers import Health, Root, StreamsAnswer
from services import status
from streams.registry import Streams
from streams.stream import Stream
from utils.json_types import JsonObject

LINKS = {
    "docs": "/api/docs",
    "openapi": "/api/docs/openapi.json",
    "health": "/api/health",
    "streams": "/api/streams",
}


def blueprint(settings: Settings, streams: Streams, database: Database) -> APIBlueprint:
    """Return the endpoints."""
    tag = Tag(name="system", description="The state of the backend")
    api = APIBlueprint("system", __name__, abp_tags=[tag], abp_responses={400: Error})

    @api.get("/", responses={200: Root, 302: {"description": "Redirect of browsers to the form"}})
    def root() -> JsonObject | Response:
        """The service and its links; a browser is redirected to the form at `/api/docs`."""
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return redirect(f"{request.script_root}/api/docs")
        links = {name: f"{request.script_root}{path}" for name, path in LINKS.items()}
        return {"service": status.SERVICE, "version": VERSION, **links}

    @api.get("/health", responses={200: Health, 503: Health})
    @api.get("/api/health", responses={200: Health, 503: Health})
    def health() -> tuple[JsonObject, int]:
        """The state of the backend: 200 if healthy or degraded, 503 without the database."""
        health_now = status.health(settings, database)
        return health_now, 503 if health_now["status"] == "unhealthy" else 200

    @api.get("/api/streams", responses={200: StreamsAnswer})
    def declared() -> JsonObject:
        """The declared streams."""
        listed = [_stream(stream) for stream in streams]
        return {"count": len(listed), "streams": listed}

    return api


def _stream(stream: Stream) -> JsonObject:
    names = ("name", "title", "unit", "type", "required", "plural")
    return {
        "name": stream.name,
        "title": stream.title,
        "topic": str(stream.topic),
        "topics": [str(topic) for topic in stream.topics],
        "device": stream.device,
        "timestamp_required": stream.timestamp.required,
        "metrics": [{name: getattr(metric, name) for name in names} for metric in stream.metrics],
        "url": f"{request.script_root}/api/{stream.name}",
    }
