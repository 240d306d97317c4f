"""The OpenAPI document: operation ids, examples of bodies, and where the API is served; and the page with the form."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from flask import redirect, request, url_for
from flask_openapi.models.info import Info
from flask_openapi.models.license import License
from flask_openapi.openapi import OpenAPI
from flask_openapi_swagger.templates import swagger_html_string  # type: ignore[import-untyped]  # it has no types
from werkzeug.routing import Map
from werkzeug.wrappers import Response

from config import VERSION
from utils.json_types import JsonObject

TITLE = "AutoForge API"
DESCRIPTION = (
    "Readings of devices, commands to them, and the backend about itself. Times are RFC 3339 in UTC; `from` and `to` "
    "take ISO 8601, epoch numbers, or a time before now such as `-24h`. Errors are JSON with a `message`."
)
INFO = Info(
    title=TITLE,
    version=VERSION,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
)
VERBS = {"get": "get", "put": "replace", "delete": "delete"}
NAMED = {
    ("get", "/"): "root",
    ("get", "/health"): "health_short",
    ("get", "/mqtt/status"): "publisher_status_short",
    ("get", "/mqtt/reload"): "publisher_reload_get",
    ("post", "/mqtt/reload"): "publisher_reload_short",
    ("get", "/api/control"): "control_list",
    ("post", "/api/control"): "control_create",
    ("get", "/api/publisher/configs"): "publisher_configs_list",
    ("post", "/api/publisher/configs"): "publisher_configs_create",
}


class Places(Map):
    """The paths of an application, which redirects none of them: a redirect would lead to whatever Host says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"strict_slashes": False, "merge_slashes": False}
        super().__init__(*arguments, **options)


class DocumentedApp(OpenAPI):
    """An application with its OpenAPI document at `/api/docs/openapi.json` and a form at `/api/docs`."""

    url_map_class = Places

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, info=INFO, doc_prefix="/api/docs", **options)
        self.openapi_version = "3.1.0"
        # By default Swagger UI shows the document to a validator on another host.
        self.config["SWAGGER_CONFIG"] = {"validatorUrl": None}
        self.config["SWAGGER_HTML_STRING"] = swagger_html_string.replace(
            "<title>Swagger UI<", f"<title>{TITLE}<"
        )
        self.view_functions["openapi.openapi"] = _form

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Take every function as it is: none is asynchronous, and Flask asks about each of each request."""
        return func

    @property
    def api_doc(self) -> JsonObject:
        """The document, as it holds for the request: below a proxy's path the server is there."""
        return {**super().api_doc, "servers": [{"url": request.script_root or "/"}]}

    def generate_spec_json(self) -> None:
        """Make what is the same for all requests."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]  # the library's
        # Nobody has to log in.
        self.spec_json["security"] = []
        schemas = self.spec_json["components"]["schemas"]
        for method, path, operation in operations(self.spec_json):
            operation["operationId"] = operation_id(method, path)
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _add_example(content, schemas)


def operations(document: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    """Method, path and operation of all operations of a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def operation_id(method: str, path: str) -> str:
    """What a generated client calls an operation: `sensors_history`, `control_create`."""
    if (method, path) in NAMED:
        return NAMED[method, path]
    below = path.removeprefix("/api/")
    words = re.sub(r"\W+", "_", re.sub(r"/\{\w+\}", "", below)).strip("_")
    return f"{words}_{VERBS[method]}" if below.endswith(("_id}", "{id}")) else words


def _without_null(declared: JsonObject) -> JsonObject:
    """The schema of a parameter: it may be left out, but what is in a URL is never null."""
    kinds = [kind for kind in declared.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return {**kinds[0], **{name: value for name, value in declared.items() if name != "anyOf"}}
    return declared


def _add_example(content: JsonObject, schemas: JsonObject) -> None:
    declared = content["schema"]
    declared = schemas[declared["$ref"].rsplit("/", 1)[1]] if "$ref" in declared else declared
    for example in declared.get("examples", [])[:1]:
        content.setdefault("example", example)


def _form() -> Response:
    return redirect(url_for("swagger.swagger"))
