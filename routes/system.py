"""`/api/health`, `/api/streams` and `/api/rejected`: the backend about itself."""

from typing import Any

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

import queries.ingestion
from config import Settings
from database import Database
from models import RejectedMessage
from routes.answers import Error, Health, RejectedAnswer, StreamsAnswer
from routes.arguments import RejectedQuery
from services import status
from streams.declaration import Streams
from streams.stream import Stream
from utils import clock

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

    @api.get("/api/rejected", responses={200: RejectedAnswer, 400: Error, 503: Error})
    def rejected(query: RejectedQuery) -> Answer:
        """Messages that could not be stored, with the reason, newest first."""
        with database.session() as session:
            counts = queries.ingestion.rejection_counts(session)
            rows = [
                _rejected(row) for row in queries.ingestion.rejected(session, query.reason, query.limit, query.offset)
            ]
        return {"count": len(rows), "limit": query.limit, "offset": query.offset, "counts": counts, "data": rows}

    return api


def _time(moment: Any) -> str | None:
    return None if moment is None else clock.rfc3339(moment)


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


def _rejected(row: RejectedMessage) -> Answer:
    names = ("id", "stream", "topic", "payload_size", "reason", "message")
    listed = {name: getattr(row, name) for name in names}
    return {**listed, "payload": row.payload.decode(errors="backslashreplace"), "created_at": _time(row.created_at)}
