"""`/api/control`: send commands to devices and read their state."""

import contextlib
from typing import Any

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from database import Unavailable
from queries.commands import FINAL
from routes.answers import CommandAnswer, CommandsAnswer, ControlAnswer, Error, Undelivered
from routes.arguments import CommandPath, CommandsQuery, ControlBody, KeyHeader, WaitQuery
from services import serializers
from services.commands import Commands
from services.known_devices import KnownDevices
from utils.json_types import JsonObject

ERRORS: dict[Any, Any] = {400: Error, 503: Error}


def blueprint(commands: Commands, known: KnownDevices) -> APIBlueprint:
    """Return the endpoints."""
    api = APIBlueprint(
        "control",
        __name__,
        url_prefix="/api/control",
        abp_tags=[Tag(name="control", description="Commands to devices")],
    )
    _add_sending(api, commands, known)

    @api.get("", responses=ERRORS | {200: CommandsAnswer})
    def listed(query: CommandsQuery) -> JsonObject:
        """Commands, newest first."""
        rows = commands.find(query.device_id, query.status, query.limit)
        return {
            "count": len(rows),
            "limit": query.limit,
            "data": [serializers.command(row, request.script_root) for row in rows],
        }

    @api.get(
        "/<command_id>", responses=ERRORS | {200: CommandAnswer, 202: CommandAnswer, 404: Error}
    )
    def state(path: CommandPath, query: WaitQuery) -> tuple[JsonObject, int]:
        """A command and its state."""
        return _awaited(commands, path.command_id, query.wait, 202 if query.wait else 200)

    return api


def _add_sending(api: APIBlueprint, commands: Commands, known: KnownDevices) -> None:
    own: dict[Any, Any] = {413: Error, 415: Error, 422: Error, 503: Undelivered}

    @api.post("", responses=ERRORS | own | {200: CommandAnswer, 202: ControlAnswer})
    def send(body: ControlBody, query: WaitQuery, header: KeyHeader) -> tuple[JsonObject, int]:
        """Store a command and publish it on the device's control topic."""
        command_id, new = commands.issue(body.order(), header.key)
        hint = _hint(known, body.device_id)
        if query.wait or not new:
            answer, status = _awaited(commands, command_id, query.wait, 202)
            return answer | hint, status
        issued = {"command_id": command_id, "device_id": body.device_id, "command": body.command}
        url = f"{request.script_root}/api/control/{command_id}"
        return {
            "status": "acknowledged",
            **issued,
            "url": url,
            "message": "Command sent to device",
            **hint,
        }, 202


def _hint(known: KnownDevices, device_id: str) -> JsonObject:
    # The command is sent even if the database fails here.
    with contextlib.suppress(Unavailable):
        if found := known.hint(device_id):
            return {"hint": found}
    return {}


def _awaited(
    commands: Commands, command_id: str, seconds: float, unfinished: int
) -> tuple[JsonObject, int]:
    """Wait for a command; `unfinished` is the HTTP status while it is not final."""
    row = commands.wait(command_id, seconds)
    if row is None:
        return {"message": f"There is no command {command_id}. GET /api/control lists them"}, 404
    command = serializers.command(row, request.script_root)
    if row["status"] in FINAL:
        return command, 200
    more = {"message": "The command is not final yet; ask again"} if unfinished == 202 else {}
    return command | more, unfinished
