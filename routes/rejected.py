"""`/api/rejected`: the messages that could not be stored, with the reason, and their bytes as they came."""

import base64
import codecs

import msgspec
from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from sqlalchemy import RowMapping

import queries.rejected
from database import Database
from ingest.rejected import Room
from queries.rejected import PREVIEW
from routes.answers import Error, RejectedAnswer, RejectedPayload
from routes.arguments import RejectedPath, RejectedQuery
from services import rejected as filling
from utils import clock
from utils.json_types import JsonObject

LARGEST = 10
"""How many shares are told."""
MOST_PAYLOAD, MOST_TEXT = 1_280, 600
"""Bytes of JSON that a list spends on the beginning of a payload, on a topic and on a sentence."""
MISSING = "No rejected message has the id {id}: it made room for others, or there never was one; see /api/rejected"
DOWNLOAD = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
BYTES = {
    "description": "The payload as it came; of one over 64 KB, the first 4 KB",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def blueprint(database: Database, room: Room) -> APIBlueprint:
    """The endpoints."""
    api = APIBlueprint(
        "rejected", __name__, abp_tags=[Tag(name="system")], abp_responses={400: Error, 503: Error}
    )

    @api.get("/api/rejected", responses={200: RejectedAnswer})
    def rejected(query: RejectedQuery) -> JsonObject:
        """Messages that could not be stored, with the reason, newest first."""
        wanted = {"reason": query.reason, "stream": query.stream, "device_id": query.device_id}
        with database.reader() as reader:
            rows = queries.rejected.page(reader, wanted, query.limit, query.offset)
            counts = queries.rejected.counts(reader)
            kept = filling.kept(reader, room)
            shares = queries.rejected.largest_shares(reader, "messages", LARGEST)
        totals = {
            "counts": counts,
            "evicted": kept.pop("evicted"),
            "kept": kept,
            "shares": list(map(_share, shares)),
        }
        page = {"count": len(rows), "limit": query.limit, "offset": query.offset}
        return {**page, **totals, "data": list(map(_listed, rows))}

    @api.get("/api/rejected/<int:id>", responses={200: RejectedPayload, 404: Error})
    def one(path: RejectedPath) -> tuple[JsonObject, int]:
        """One of them, with its payload in Base64."""
        row = _found(database, path.id)
        if row is None:
            return {"message": MISSING.format(id=path.id)}, 404
        return _document(row) | {"payload_base64": base64.b64encode(row["payload"]).decode()}, 200

    @api.get("/api/rejected/<int:id>/payload", responses={200: BYTES, 404: Error})
    def payload(path: RejectedPath) -> Response | tuple[JsonObject, int]:
        """Its payload as a file, byte by byte as it came."""
        row = _found(database, path.id)
        if row is None:
            return {"message": MISSING.format(id=path.id)}, 404
        response = Response(row["payload"], mimetype="application/octet-stream", headers=DOWNLOAD)
        response.headers.set(
            "Content-Disposition", "attachment", filename=f"rejected-{path.id}.bin"
        )
        return response

    return api


def _found(database: Database, number: int) -> RowMapping | None:
    with database.reader() as reader:
        return queries.rejected.message(reader, number)


def _document(row: RowMapping) -> JsonObject:
    names = ("id", "stream", "device_id", "topic", "reason", "message", "payload_size")
    more = {
        "truncated": row["kept"] < row["payload_size"],
        "created_at": clock.rfc3339(row["created_at"]),
    }
    return {name: row[name] for name in names} | more | {"payload": _beginning(row["payload"])}


def _listed(row: RowMapping) -> JsonObject:
    """The same so short that a page of them is an answer of bearable size, whatever they are."""
    document = _document(row)
    return document | {name: _shortened(document[name], MOST_TEXT) for name in ("topic", "message")}


def _beginning(payload: bytes | None) -> str:
    """The first bytes as text; None is what SQLite makes of the beginning of nothing."""
    first = (payload or b"")[:PREVIEW]
    # Of a letter that is cut in two the first half is left out, rather than shown as what it is not.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return _shortened(decoder.decode(first, final=len(first) < PREVIEW), MOST_PAYLOAD)


def _shortened(text: str, most: int) -> str:
    """The beginning of a text that takes at most so many bytes as JSON, by and large."""
    size = len(msgspec.json.encode(text))
    return text if size <= most else text[: len(text) * most // size]


def _share(row: RowMapping) -> JsonObject:
    return {
        name: row[name]
        for name in ("stream", "device_id", "topic", "reason", "messages", "bytes", "evicted")
    }
