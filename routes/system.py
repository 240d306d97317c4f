"""`/api/health`, `/api/streams` and `/api/rejected`: the backend about itself."""

from datetime import timedelta
from typing import Any

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

import queries
from config import VERSION, Settings
from database import Database, Unavailable
from models import IngestStatus, RejectedMessage
from routes.answers import Error, Health, RejectedAnswer, StreamsAnswer
from routes.arguments import RejectedQuery
from streams.declaration import Stream, Streams
from utils import clock

Answer = dict[str, Any]
HEARTBEAT_LIMIT = timedelta(seconds=10)
SERVICE = "AutoForge IoT Backend"


def blueprint(settings: Settings, streams: Streams, database: Database) -> APIBlueprint:
    """The endpoints."""
    api = APIBlueprint("system", __name__, url_prefix="/api", abp_tags=[Tag(name="system")], abp_responses={400: Error})

    @api.get("/health", responses={200: Health, 503: Health})
    def health() -> tuple[Answer, int]:
        """How the backend is: 200 healthy or degraded (it says what and since when), 503 without the database."""
        place: Answer = {"service": SERVICE, "version": VERSION}
        try:
            with database.session() as session:
                ways = queries.ingest_status(session)
        except Unavailable as error:
            message = f"The database cannot be used: {error}"
            reachable = {"reachable": False, "url": str(database)}
            return {"status": "unhealthy", **place, "message": message, "database": reachable}, 503
        mqtt = _mqtt(ways["mqtt"], settings)
        trouble = None if mqtt["problem"] is None else f"MQTT: {mqtt['problem']}"
        place |= {"database": {"reachable": True, "url": str(database)}}
        ways_in = {"mqtt": mqtt, "http": _counts(ways["http"])}
        return {"status": "degraded" if trouble else "healthy", "message": trouble, **place, **ways_in}, 200

    @api.get("/streams", responses={200: StreamsAnswer})
    def declared() -> Answer:
        """The declared streams."""
        listed = [_stream(stream) for stream in streams]
        return {"count": len(listed), "streams": listed}

    @api.get("/rejected", responses={200: RejectedAnswer, 400: Error, 503: Error})
    def rejected(query: RejectedQuery) -> Answer:
        """Messages that could not be stored, with the reason, newest first."""
        with database.session() as session:
            counts = queries.rejection_counts(session)
            rows = [_rejected(row) for row in queries.rejected(session, query.reason, query.limit, query.offset)]
        return {"count": len(rows), "limit": query.limit, "offset": query.offset, "counts": counts, "data": rows}

    return api


def _mqtt(status: IngestStatus, settings: Settings) -> Answer:
    beat = status.heartbeat_at
    running = status.holder is not None and beat is not None and clock.now() - beat < HEARTBEAT_LIMIT
    problem = status.problem if running else "no process ingests"
    return {
        "broker": str(settings.broker),
        "holder": status.holder,
        "heartbeat_at": _time(beat),
        "running": running,
        "connected": running and status.connected,
        "subscribed": running and status.subscribed,
        "problem": problem,
        "since": _time(status.changed_at if running else beat),
        "best_effort": status.best_effort,
        **_counts(status),
    }


def _counts(status: IngestStatus) -> Answer:
    counts = {name: getattr(status, name) for name in ("received", "stored", "duplicate", "rejected")}
    return {**counts, "last_batch_at": _time(status.last_batch_at)}


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
