"""The OpenAPI document: valid, complete, true, and readable without any other host."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from iotcore import Broker
from pydantic import TypeAdapter
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from config import PROJECT, Settings
from routes.fields import DeviceId
from tests.api import Api, reading, running
from tests.support import free_port
from utils.identity import device_id_fault

DOCUMENT = "/api/docs/openapi.json"
PANEL = """
topic = "panel/{device_id}/{metric}"
[metrics.voltage]
[metrics.state]
type = "text"
simulate = { states = ["on", "off"] }
"""
SHIPPED = {file.stem: file.read_text() for file in (PROJECT / "streams").glob("*.toml")}
MACHINE = """
topic = "machine"
device = "machine_id"
values = "sensor_readings"
[timestamp]
field = "at"
[metrics.speed]
required = true
"""
WINDOW = {"device_id", "from", "to"}
PARAMETERS = {
    "latest": {"device_id"},
    "history": WINDOW | {"limit", "offset"},
    "stats": WINDOW,
    "ml-data": WINDOW | {"limit"},
    "clocks": {"device_id", "limit", "offset"},
    "devices": set(),
    "quality": {"device_id"},
    "readings": {"device_id"},
}
STATUSES = {
    ("get", "/api/health"): {200, 503},
    ("get", "/api/streams"): {200},
    ("post", "/api/control"): {202, 400, 413, 415, 503},
    ("get", "/api/sensors/latest"): {200, 400, 404, 503},
    ("get", "/api/sensors/history"): {200, 400, 503},
    ("get", "/api/sensors/stats"): {200, 400, 503},
    ("get", "/api/sensors/ml-data"): {200, 400, 503},
    ("get", "/api/sensors/clocks"): {200, 400, 503},
    ("get", "/api/sensors/devices"): {200, 503},
    ("get", "/api/sensors/quality"): {200, 400, 503},
    ("get", "/api/rejected"): {200, 400, 503},
    ("get", "/api/rejected/{id}"): {200, 400, 404, 503},
    ("get", "/api/rejected/{id}/payload"): {200, 400, 404, 503},
    ("post", "/api/sensors/readings"): {201, 207, 400, 413, 415, 503},
    ("post", "/api/publisher/configs"): {201, 400, 409, 413, 415, 503},
    ("put", "/api/publisher/configs/{id}"): {200, 400, 404, 409, 413, 415, 503},
    ("delete", "/api/publisher/configs/{id}"): {200, 400, 404, 409, 503},
    ("post", "/mqtt/reload"): {200, 413, 415},
}
# Whether valid data is accepted and bad data refused is what the other tests say in detail.
CONFORMS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
REFERENCE = re.compile(
    r"""(?:src|href)\s*=\s*["']\s*([^"']+?)\s*["']|url\(\s*["']?([^"')]+)["']?\s*\)"""
)
REDIRECTION = re.compile(r"""location\.href\s*=\s*["']([^"']+)["']""")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API with a broker, a database with a few readings, and a stream of every shape."""
    folder = tmp_path_factory.mktemp("openapi")
    declared = {"panel": PANEL, "machine": MACHINE} | SHIPPED
    for name, text in declared.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "publisher.json").write_text(
        json.dumps([{"id": "boiler", "topic": "plant", "data": {}, "interval": 30}])
    )
    port = free_port()
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/test.db",
        "streams_dir": folder,
        "mqtt_port": port,
    }
    values["publisher_config"] = folder / "publisher.json"
    with (
        Broker(port=port, listen="127.0.0.1"),
        running(Settings(_env_file=None, mqtt_broker="127.0.0.1", **values)) as api,
    ):
        api.submit(reading("a", 1), reading("b", 2))
        yield api


@pytest.fixture(scope="module")
def document(api: Api) -> Any:
    """The document."""
    return api.get(DOCUMENT)


@pytest.fixture(scope="module")
def schema(api: Api) -> OpenApiSchema:
    """The document as schemathesis reads it."""
    return schemathesis.openapi.from_wsgi(DOCUMENT, api.app)


def operations(document: Any) -> dict[tuple[str, str], Any]:
    """Every operation of the document, by method and path."""
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.process
def test_it_is_valid_openapi_3_1(schema: OpenApiSchema, document: Any) -> None:
    schema.validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "AutoForge API"
    assert document["info"]["version"] == "1.0.0"
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert (PROJECT / "LICENSE").read_text().startswith("MIT License")
    assert all(tag["description"] for tag in document["tags"])


@pytest.mark.process
@pytest.mark.broker
def test_every_route_is_in_it_and_nothing_else(api: Api, document: Any) -> None:
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and not rule.rule.startswith("/api/docs")
    }
    assert operations(document).keys() == routes
    assert STATUSES.keys() <= routes


@pytest.mark.broker
def test_every_schema_has_its_title_as_its_name(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if schema.get("title", name) != name] == []
    assert {"Device", "RejectedMessage", "RejectedShare", "RejectedPayload"} <= schemas.keys()


@pytest.mark.broker
@pytest.mark.parametrize("stream", ["sensors", "panel", "machine", "machines", "panels", "soil"])
def test_every_parameter_of_a_stream_is_in_it_with_bounds_and_defaults(
    document: Any, stream: str
) -> None:
    for endpoint, names in PARAMETERS.items():
        (operation,) = document["paths"][f"/api/{stream}/{endpoint}"].values()
        parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
        assert parameters.keys() >= names
        assert not any(parameter["required"] for parameter in parameters.values())
        assert all(parameter.get("description") for parameter in parameters.values())
        if "limit" in parameters:
            limit = parameters["limit"]["schema"]
            assert limit["minimum"] == 1
            assert limit["maximum"] >= (1000 if endpoint == "clocks" else 10_000)
            assert limit["default"] == (100 if endpoint == "history" else 1000)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("operation", "statuses"), STATUSES.items(), ids=["-".join(operation) for operation in STATUSES]
)
def test_every_status_that_an_operation_can_give_is_in_it(
    document: Any, operation: tuple[str, str], statuses: set[int]
) -> None:
    responses = operations(document)[operation]["responses"]
    assert {int(status) for status in responses} >= statuses
    for status, response in responses.items():
        assert response["description"]
        if status == "200" and operation[1].endswith("/payload"):
            assert response["content"]["application/octet-stream"]["schema"]["format"] == "binary"
            continue
        schema = response["content"]["application/json"]["schema"]
        answer = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        assert status < "400" or "message" in answer["properties"]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/sensors/readings", reading()),
        ("/api/sensors/readings", [reading(), reading(timestamp=1769697045.5)]),
        (
            "/api/machine/readings",
            {"machine_id": "m", "at": 1769697045, "sensor_readings": {"speed": 900}},
        ),
        ("/api/panel/readings", {"device_id": "p", "voltage": 230.5, "state": "on"}),
        ("/api/panel/readings", 230.5),
        ("/api/panel/readings", "on"),
        ("/api/panel/readings", {"value": 230.5, "timestamp": "2026-01-29T12:00:00Z"}),
        ("/api/panel/readings", [230.5, {"value": 231}]),
        (
            "/api/control",
            {"device_id": "a", "command": "restart", "parameters": {"delay_seconds": 5}},
        ),
    ],
)
def test_every_body_that_is_understood_is_in_it(document: Any, path: str, body: Any) -> None:
    assert fits(
        document,
        operations(document)["post", path]["requestBody"]["content"]["application/json"]["schema"],
        body,
    )


@pytest.mark.broker
@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize(
    "moment", ["2026-01-29T12:00:00Z", "2026-01-29", "1769697045", "1769697045000", "-24h", "now"]
)
def test_every_form_of_a_time_is_in_it(document: Any, name: str, moment: str) -> None:
    parameters = operations(document)["get", "/api/sensors/history"]["parameters"]
    (declared,) = [parameter["schema"] for parameter in parameters if parameter["name"] == name]
    assert fits(document, declared, moment)


def fits(document: Any, declared: Any, value: Any) -> bool:
    """Whether a value is valid under a JSON schema of the document, formats included."""
    whole = {**declared, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value)


@pytest.mark.broker
@pytest.mark.parametrize("path", ["/api/sensors/history", "/api/control"])
def test_what_a_device_id_may_be_is_in_it(document: Any, path: str) -> None:
    if path == "/api/control":
        declared = document["components"]["schemas"]["ControlBody"]["properties"]["device_id"]
    else:
        declared = next(item["schema"] for item in document["paths"][path]["get"]["parameters"])
    for good in ("ESP32_001", "機器 42", "a.b", "x" * 128):
        assert fits(document, declared, good)
    for bad in ("", "a/b", "a+b", "#", "x" * 129):
        assert not fits(document, declared, bad), bad


@pytest.mark.broker
@pytest.mark.long
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("quarter", range(4))
def test_whatever_is_asked_the_answer_is_as_documented_and_no_server_error(
    schema: OpenApiSchema, document: Any, quarter: int, mode: GenerationMode
) -> None:
    for (method, path), described in list(operations(document).items())[quarter::4]:
        if path.endswith("/live"):  # its answer never ends; tests/routes/test_live.py reads it
            continue
        if mode == GenerationMode.NEGATIVE and not described.keys() & {"parameters", "requestBody"}:
            continue
        operation = schema[path][method]

        @hypothesis_settings(
            max_examples=25,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            case.query.pop("wait", None)  # up to a minute each
            case.call_and_validate(checks=CONFORMS)

        ask()


@pytest.mark.broker
def test_every_parameter_and_body_has_an_example_that_is_valid(document: Any) -> None:
    for place, operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            declared = parameter["schema"]
            assert declared["examples"], (place, parameter["name"])
            assert all(fits(document, declared, example) for example in declared["examples"]), (
                place,
                parameter,
            )
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert fits(document, content["schema"], content["example"]), place


@pytest.mark.broker
def test_the_example_of_a_reading_is_stored_when_it_is_sent(api: Api, document: Any) -> None:
    for stream in ("sensors", "machines", "panels", "soil", "panel", "machine"):
        path = f"/api/{stream}/readings"
        content = operations(document)["post", path]["requestBody"]["content"]["application/json"]
        answer = api.post(path, content["example"])
        assert answer["stored"] + answer["duplicate"] == 1, stream


@pytest.mark.broker
def test_the_example_of_a_command_is_sent_and_so_is_that_of_a_message(
    api: Api, document: Any
) -> None:
    for path, status in (
        ("/api/control", 202),
        ("/api/mqtt/publish", 200),
        ("/api/soil-health/analyze", 200),
    ):
        content = operations(document)["post", path]["requestBody"]["content"]["application/json"]
        assert api.post(path, content["example"], expect=status)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "/api/sensors/history", "sensors_history"),
        ("get", "/api/sensors/ml-data", "sensors_ml_data"),
        ("post", "/api/sensors/readings", "sensors_readings"),
        ("get", "/api/panels/energy", "panels_energy"),
        ("post", "/api/control", "control_create"),
        ("get", "/api/control/{command_id}", "control_get"),
        ("get", "/api/mqtt/last-value/{topic}", "mqtt_last_value"),
        ("put", "/api/publisher/configs/{id}", "publisher_configs_replace"),
        ("get", "/api/soil-health/optimal-ranges", "soil_health_optimal_ranges"),
        ("get", "/api/health", "health"),
    ],
)
def test_an_operation_is_called(document: Any, method: str, path: str, name: str) -> None:
    assert operations(document)[method, path]["operationId"] == name


@pytest.mark.broker
def test_every_operation_has_a_name_of_its_own_and_nobody_has_to_log_in(document: Any) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert document["security"] == []


@pytest.mark.broker
@pytest.mark.database
def test_below_a_path_of_a_proxy_the_server_and_the_links_are_there(tmp_path: Path) -> None:
    values: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/test.db", "proxy_count": 1}
    below = {"X-Forwarded-Prefix": "/autoforge"}
    with running(
        Settings(_env_file=None, mqtt_broker="127.0.0.1", mqtt_port=free_port(), **values)
    ) as api:

        def ask(path: str, prefix: str | None = "/autoforge", **more: str) -> Any:
            headers = more | ({"X-Forwarded-Prefix": prefix} if prefix else {})
            return api.client.get(path, headers=headers)

        assert ask(DOCUMENT).json["servers"] == [{"url": "/autoforge"}]
        assert ask(DOCUMENT, None).json["servers"] == [{"url": "/"}]
        assert ask(DOCUMENT, "/other").json["servers"] == [{"url": "/other"}]
        assert ask("/api/streams").json["streams"][0]["url"] == "/autoforge/api/anything"
        assert ask("/").json["health"] == "/autoforge/api/health"
        assert "/autoforge/api/sensor/latest" in ask("/api/info").json["endpoints"]
        assert "All paths: /autoforge/api/docs" in ask("/nothing").json["message"]
        assert ask("/api/docs").headers["Location"] == "/autoforge/api/docs/swagger"
        command = {"device_id": "a", "command": "ping"}
        refused = api.client.post("/api/control", json=command, headers=below).get_json()
        (listed,) = ask("/api/control").json["data"]
        assert listed["url"] == f"/autoforge/api/control/{refused['command_id']}"
        assert ask(listed["url"].removeprefix("/autoforge")).json["url"] == listed["url"]


# The pages


@pytest.mark.broker
@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_form_opens_at_once_and_wherever_host_points_to(api: Api, path: str) -> None:
    answer = api.client.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/api/docs/swagger")
    assert "<title>AutoForge API</title>" in api.client.get(path, follow_redirects=True).text


@pytest.mark.broker
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 302),
        ("*/*", 200),
        ("application/json", 200),
        (None, 200),
    ],
)
def test_the_root_shows_browsers_the_form_and_others_where_to_go_on(
    api: Api, accept: str | None, status: int
) -> None:
    answer = api.client.get("/", headers={"Accept": accept} if accept else {})
    assert answer.status_code == status
    if status == 302:
        assert answer.headers["Location"] == "/api/docs"
    else:
        places = answer.get_json()
        assert {
            api.client.get(places[name]).status_code for name in ("openapi", "health", "streams")
        } == {200}


@pytest.mark.broker
@pytest.mark.parametrize(
    "path", ["//api//health", "/api//health", "/api/sensors//latest", "//evil.example/x"]
)
def test_no_path_redirects_to_where_the_host_header_points(api: Api, path: str) -> None:
    answer = api.client.get(
        "/", base_url="http://evil.example", environ_overrides={"PATH_INFO": path}
    )
    assert answer.status_code == 404
    assert "Location" not in answer.headers


@pytest.mark.broker
def test_the_pages_need_nothing_that_the_app_does_not_serve_itself(api: Api) -> None:
    waiting, seen = ["/api/docs"], set()
    while waiting:
        path = waiting.pop()
        answer = api.client.get(path, follow_redirects=True, buffered=True)
        assert answer.status_code == 200, path
        base = answer.request.path
        seen |= {path, base}
        if answer.mimetype not in ("text/html", "text/css"):
            continue
        found = [a or b for a, b in REFERENCE.findall(answer.text)] + REDIRECTION.findall(
            answer.text
        )
        for reference in found:
            parts = urlsplit(reference)
            assert not parts.netloc, f"{path} refers to {reference}"
            if (
                parts.scheme != "data"
                and (target := urljoin(base, parts.path)) not in seen
                and parts.path
            ):
                waiting.append(target)
    assert "/api/docs/swagger" in seen
    assert {path.rsplit(".", 1)[-1] for path in seen} >= {"css", "js"}


@pytest.mark.broker
def test_the_page_sends_no_document_to_an_outside_validator(api: Api) -> None:
    """Swagger UI asks validator.swagger.io about every document that is not on localhost, unless told not to."""
    page = api.client.get("/api/docs/swagger").text
    configuration = re.search(r"swagger_config = JSON\.parse\(`(.*?)`\)", page)
    assert configuration is not None
    assert (json.loads(configuration[1]) or {}).get("validatorUrl", "the default") in (
        None,
        "none",
        "",
    )


@pytest.mark.parametrize("form", ["{}", "{}a", "a{}", "a{}b"])
def test_the_pattern_of_a_device_id_knows_what_is_invisible(form: str) -> None:
    pattern = re.compile(TypeAdapter(DeviceId).json_schema()["pattern"])
    for character in map(chr, [*range(0xD800), *range(0xE000, 0x10000)]):
        text = form.replace("{}", character)
        allowed = device_id_fault(text) is None
        # `$` of Python also matches before a line break at the end.
        assert (pattern.fullmatch(text) is not None) is allowed, f"U+{ord(character):04X}"
