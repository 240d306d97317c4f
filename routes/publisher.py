"""`/api/publisher` and `/mqtt`: the static publisher and its configuration file."""

from typing import Any

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import ConfigDict, Field, JsonValue, RootModel

from publisher.decoding import Unreadable, decode_entry
from publisher.entries import Entry
from publisher.loader import ConfigurationError
from publisher.service import PublisherService
from publisher.status import PublisherStatus
from routes.answers import Error
from routes.arguments import Query
from routes.fields import Whole
from routes.origin import asked_here
from routes.readings import json_body
from routes.schemas import Described
from services.configurations import BadEntry, ConfigurationEditor
from utils.json_types import JsonObject

FAULTS: dict[Any, Any] = {503: Error}
CHANGE_FAULTS: dict[Any, Any] = FAULTS | {409: Error, 413: Error, 415: Error}


class ConfigurationPath(Described):
    """Which configuration; also one whose id breaks the rules."""

    id: str = Field(min_length=1, max_length=1000, examples=["boiler"])


class VersionQuery(Query):
    """Which version of a configuration."""

    version: Whole | None = Field(
        None, ge=1, description="Only if it still has this version.", examples=[1]
    )


class Configuration(Described):
    """A configuration as it stands in the file, with whatever else was written there."""

    model_config = ConfigDict(extra="allow")

    id: str


class ConfigurationsAnswer(Described):
    """The file, entry by entry."""

    count: int
    data: list[JsonValue] = Field(
        description="Every entry as it stands in the file, in its order, faulty ones too."
    )
    faults: list[str] = Field(
        description="A line for each fault; faulty entries are not published."
    )


class ReloadAnswer(Described):
    """What became of reading the file again."""

    success: bool = Field(
        description="False: the file cannot be read, and the last good configuration stays."
    )
    active_configs: int
    faults: list[str]
    message: str


class StatusAnswer(RootModel[PublisherStatus]):
    """The publisher of the file, whichever process that is."""


NOT_HERE = (
    "GET {path} is for this machine only, because any page can make a browser ask it. "
    "POST it with the header Content-Type: application/json"
)
_EXAMPLE = {"id": "boiler", "topic": "plant/boiler", "data": {"temperature": 80}, "interval": 30}
_ENTRY = Entry.model_json_schema() | {"examples": [_EXAMPLE]}
_REPLACEMENT = _ENTRY | {
    "required": [*(name for name in _ENTRY["required"] if name != "id"), "version"],
    "examples": [_EXAMPLE | {"version": 1}],
}


def blueprint(service: PublisherService, editor: ConfigurationEditor) -> APIBlueprint:
    """The endpoints."""
    tag = Tag(name="publisher", description="The static publisher")
    api = APIBlueprint("publisher", __name__, abp_tags=[tag], abp_responses={400: Error})
    _add_service(api, service, editor)
    _add_file(api, service, editor)
    _add_entries(api, service, editor)
    return api


def _add_service(api: APIBlueprint, service: PublisherService, editor: ConfigurationEditor) -> None:
    @api.get("/mqtt/status", responses={200: StatusAnswer})
    @api.get("/api/publisher/status", responses={200: StatusAnswer})
    def status() -> PublisherStatus:
        """Whether it publishes, and its figures in total and by entry."""
        return service.get_status()

    @api.get("/mqtt/reload", responses={200: ReloadAnswer, 403: Error})
    def reload_from_here() -> tuple[JsonObject, int]:
        """The same for programs on this machine, but not for a page of another site."""
        if not asked_here(request):
            return {"message": NOT_HERE.format(path=f"{request.script_root}/mqtt/reload")}, 403
        return _reloaded(service, editor), 200

    # Declared so that the form sends the header that a POST needs; the body is not read.
    empty = json_body({"type": "object", "examples": [{}]}, required=False)
    answers: dict[Any, Any] = {200: ReloadAnswer, 413: Error, 415: Error}

    @api.post("/mqtt/reload", responses=answers, request_body=empty)
    @api.post("/api/publisher/reload", responses=answers, request_body=empty)
    def reload() -> JsonObject:
        """Read the file again at once; a changed one is read within a second anyway."""
        return _reloaded(service, editor)


def _add_file(api: APIBlueprint, service: PublisherService, editor: ConfigurationEditor) -> None:
    @api.get("/api/publisher/configs", responses=FAULTS | {200: ConfigurationsAnswer})
    def configurations() -> JsonObject:
        """The file as it is now."""
        data = editor.entries()
        return {"count": len(data), "data": data, "faults": editor.check()[1]}

    @api.post(
        "/api/publisher/configs",
        responses=CHANGE_FAULTS | {201: Entry},
        request_body=json_body(_ENTRY),
    )
    def add() -> tuple[JsonObject, int]:
        """Append a configuration; its times and its version are set here."""
        added = editor.add(_body())
        service.reload_config()
        return added, 201


def _add_entries(api: APIBlueprint, service: PublisherService, editor: ConfigurationEditor) -> None:
    url = "/api/publisher/configs/<id>"
    answers: dict[Any, Any] = {200: Configuration, 404: Error}

    @api.get(url, responses=FAULTS | answers)
    def configuration(path: ConfigurationPath) -> JsonObject:
        """One configuration as it stands in the file."""
        found: JsonObject = editor.entry(path.id)
        return found

    @api.put(
        url, responses=CHANGE_FAULTS | answers | {200: Entry}, request_body=json_body(_REPLACEMENT)
    )
    def replace(path: ConfigurationPath) -> JsonObject:
        """Replace a configuration; `version` is the one that was read, another is a conflict."""
        replaced = editor.replace(path.id, _body())
        service.reload_config()
        return replaced

    @api.delete(url, responses=FAULTS | answers | {409: Error})
    def remove(path: ConfigurationPath, query: VersionQuery) -> JsonObject:
        """Take a configuration out of the file; it is the answer."""
        removed: JsonObject = editor.remove(path.id, query.version)
        service.reload_config()
        return removed


def _reloaded(service: PublisherService, editor: ConfigurationEditor) -> JsonObject:
    try:
        count, faults = editor.check()
    except ConfigurationError as error:
        active = service.get_status()["active_configs"]
        message = f"{error}. The last good configuration stays, with {active} entries"
        return {"success": False, "active_configs": active, "faults": [], "message": message}
    message = f"The file has {count} valid entries"
    if faults:
        message += f"; invalid ones are skipped, for {len(faults)} faults"
    return {
        "success": service.reload_config(),
        "active_configs": count,
        "faults": faults,
        "message": message,
    }


def _body() -> object:
    """The JSON of the request. Raises BadEntry."""
    try:
        return decode_entry(request.get_data())
    except Unreadable as fault:
        raise BadEntry(f"The body: {fault}") from fault
