"""`/api/rejected`: rejected messages with the reason and their original bytes."""

import base64
import codecs

import msgspec
from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from sqlalchemy import RowMapping

import queries.rejected
from database import Database
from ingest.rejected import RejectedLimits
from queries.rejected import PREVIEW
from routes.answers import Error, RejectedAnswer, RejectedPayload
from routes.arguments import RejectedPath, RejectedQuery
from services import rejected as filling
from utils import clock
from utils.json_types import JsonObject

LARGEST = 10
"""The number of shares listed."""
MOST_PAYLOAD, MOST_TEXT = 1_280, 600
"""Bytes of JSON in a list for the beginning of a payload, and for a topic or a message."""
MISSING = "There is no rejected message {id}: it was evicted or never existed; see /api/rejected"
DOWNLOAD = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
BYTES = {
    "description": "The original payload; of one over 64 KB, the first 4 KB",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def blueprint(database: Database, limits: RejectedLimits) -> APIBlueprint:
    """Return the endpoints."""
    api = APIBlueprint(
        "rejected", __name__, abp_tags=[Tag(name="system")], abp_responses={400: Error, 503: Error}
    )

    @api.get("/api/rejected", responses={200: RejectedAnswer})
    def rejected(query: RejectedQuery) -> JsonObject:
        """Rejected messages with the reason, newest first."""
        wanted = {"reason": query.reason, "stream": query.stream, "device_id": query.device_id}
        with database.read() as reader:
            rows = queries.rejected.page(reader, wanted, query.limit, query.offset)
            counts = queries.rejected.counts(reader)
            kept = filling.kept(reader, limits)
            shares = queries.rejected.largest_shares(reader, "messages", LARGEST)
        totals = {
            "counts": counts,
            "evicted": kept.pop("evicted"),
            "kept": kept,
            "shares": list(map(_share, shares)),
        }
        page = {"count": len(rows), "limit": query.limit, "offset": query.offset}
        return {**page, **totals, "data": list(map(_listed, rows))}

    _add_single(api, database)
    return api


def _add_single(api: APIBlueprint, database: Database) -> None:
    @api.get("/api/rejected/<int:id>", responses={200: RejectedPayload, 404: Error})
    def one(path: RejectedPath) -> tuple[JsonObject, int]:
        """A rejected message with its payload in Base64."""
        row = _found(database, path.id)
        if row is None:
            return {"message": MISSING.format(id=path.id)}, 404
        return _as_json(row) | {"payload_base64": base64.b64encode(row["payload"]).decode()}, 200

    @api.get("/api/rejected/<int:id>/payload", responses={200: BYTES, 404: Error})
    def payload(path: RejectedPath) -> Response | tuple[JsonObject, int]:
        """The original payload of a rejected message as a file."""
        row = _found(database, path.id)
        if row is None:
            return {"message": MISSING.format(id=path.id)}, 404
        response = Response(row["payload"], mimetype="application/octet-stream", headers=DOWNLOAD)
        response.headers.set(
            "Content-Disposition", "attachment", filename=f"rejected-{path.id}.bin"
        )
        return response


def _found(database: Database, number: int) -> RowMapping | None:
    with database.read() as reader:
        return queries.rejected.message(reader, number)


def _as_json(row: RowMapping) -> JsonObject:
    names = ("id", "stream", "device_id", "topic", "reason", "message", "payload_size")
    more = {
        "truncated": row["kept"] < row["payload_size"],
        "created_at": clock.rfc3339(row["created_at"]),
    }
    return {name: row[name] for name in names} | more | {"payload": _beginning(row["payload"])}


def _listed(row: RowMapping) -> JsonObject:
    """Return a message for the list, shortened to limit the size of a page."""
    message = _as_json(row)
    return message | {name: _shortened(message[name], MOST_TEXT) for name in ("topic", "message")}


def _beginning(payload: bytes | None) -> str:
    """Return the first bytes as text; SQLite returns None for an empty payload."""
    first = (payload or b"")[:PREVIEW]
    # A character that is cut in two is dropped, rather than shown as escaped bytes.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return _shortened(decoder.decode(first, final=len(first) < PREVIEW), MOST_PAYLOAD)


def _shortened(text: str, most: int) -> str:
    """Return the beginning of a text that takes about `most` bytes as JSON."""
    size = len(msgspec.json.encode(text))
    return text if size <= most else text[: len(text) * most // size]


def _share(row: RowMapping) -> JsonObject:
    return {
        name: row[name]
        for name in ("stream", "device_id", "topic", "reason", "messages", "bytes", "evicted")
    }
