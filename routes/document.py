"""The OpenAPI document with operation ids, examples and the server's URL, and its form."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import redirect, request, url_for
from flask_openapi.models.info import Info
from flask_openapi.models.license import License
from flask_openapi.openapi import OpenAPI

# The package has no types.
from flask_openapi_swagger.templates import swagger_html_string  # type: ignore[import-untyped]
from werkzeug.routing import Map
from werkzeug.wrappers import Response

from config import VERSION
from utils.json_types import JsonObject

TITLE = "AutoForge API"
DESCRIPTION = (
    "Read the data of devices, send them commands, and read the state of the backend. "
    "Times are RFC 3339 in UTC; `from` and `to` take ISO 8601, epoch numbers, "
    "or a relative time such as `-24h`. Errors are JSON with a `message`."
)
INFO = Info(
    title=TITLE,
    version=VERSION,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
)
SCHEMAS = "#/components/schemas/"
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


class UrlMap(Map):
    """A URL map without redirects: they would lead to the host that the request names."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"strict_slashes": False, "merge_slashes": False}
        super().__init__(*arguments, **options)


class DocumentedApp(OpenAPI):
    """An application with its OpenAPI document at `/api/docs/openapi.json`, and a form."""

    url_map_class = UrlMap

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, info=INFO, doc_prefix="/api/docs", **options)
        self.openapi_version = "3.1.0"
        # By default Swagger UI sends the document to a validator on another host.
        self.config["SWAGGER_CONFIG"] = {"validatorUrl": None}
        self.config["SWAGGER_HTML_STRING"] = swagger_html_string.replace(
            "<title>Swagger UI<", f"<title>{TITLE}<"
        )
        self.view_functions["openapi.openapi"] = _form

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function unchanged: none is async, and Flask would check on every request."""
        return func

    @property
    def api_doc(self) -> JsonObject:
        """The document for the current request, with the path of a proxy as its server."""
        return {**super().api_doc, "servers": [{"url": request.script_root or "/"}]}

    def generate_spec_json(self) -> None:
        """Make the parts that are the same for all requests."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]  # the library's
        # The API needs no login.
        self.spec_json["security"] = []
        _name_by_title(self.spec_json)
        schemas = self.spec_json["components"]["schemas"]
        for method, path, operation in operations(self.spec_json):
            operation["operationId"] = operation_id(method, path)
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _add_example(content, schemas)


def operations(document: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    """Yield method, path and operation of all operations in a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def operation_id(method: str, path: str) -> str:
    """Return the name of an operation in generated clients: `sensors_history`, `control_create`."""
    if (method, path) in NAMED:
        return NAMED[method, path]
    below = path.removeprefix("/api/")
    words = re.sub(r"\W+", "_", re.sub(r"/\{\w+\}", "", below)).strip("_")
    return f"{words}_{VERBS[method]}" if below.endswith(("_id}", "{id}")) else words


def _name_by_title(document: JsonObject) -> None:
    """Name the schemas by their titles; the library names nested models by their classes."""
    components = document["components"]
    titles = {name: schema.get("title", name) for name, schema in components["schemas"].items()}
    components["schemas"] = {titles[name]: part for name, part in components["schemas"].items()}
    references = {SCHEMAS + name: SCHEMAS + title for name, title in titles.items()}
    document.update(_with_references(document, references))


def _with_references(part: Any, references: Mapping[str, str]) -> Any:
    """Return a part of the document with other references."""
    if isinstance(part, list):
        return [_with_references(item, references) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {key: _with_references(value, references) for key, value in part.items()}
    if isinstance(reference := changed.get("$ref"), str):
        changed["$ref"] = references[reference]
    return changed


def _without_null(declared: JsonObject) -> JsonObject:
    """Return the schema of a parameter without null: a URL cannot contain null."""
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
