"""`/api/control`: commands to devices."""

from typing import Any

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from routes.answers import ControlAnswer, Error
from routes.arguments import ControlBody
from services.commands import Commands


def blueprint(commands: Commands) -> APIBlueprint:
    """The endpoint."""
    api = APIBlueprint("control", __name__, url_prefix="/api/control", abp_tags=[Tag(name="control")])

    @api.post("", responses={202: ControlAnswer, 400: Error, 413: Error, 415: Error, 503: Error})
    def send(body: ControlBody) -> tuple[dict[str, Any], int]:
        """Publish a command on the device's control topic."""
        issued = commands.send(body.device_id, body.command, body.parameters)
        command = {"command_id": issued.command_id, "device_id": issued.device_id, "command": issued.command}
        return {"status": "acknowledged", **command, "message": "Command sent to device"}, 202

    return api
