"""Errors: JSON with a message that says what to do, never HTML, never a stack trace; and who may ask."""

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import request

from config import Settings
from tests.api import Api, reading, running
from tests.support import free_port

pytestmark = pytest.mark.database

JSON = "application/json"
READINGS = "/api/sensors/readings"
DATABASE_PATHS = [
    f"/api/sensors/{name}"
    for name in ("latest", "history", "stats", "ml-data", "devices", "clocks")
]


@pytest.fixture
def api(settings: Callable[..., Settings]) -> Iterator[Api]:
    """The API over an empty SQLite database; no broker."""
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=free_port())) as api:
        yield api


@pytest.mark.broker
@pytest.mark.parametrize(
    ("method", "path", "content_type", "body", "status", "said"),
    [
        ("POST", "/", JSON, "{}", 405, "GET"),
        ("GET", "/api", None, "", 404, "/api/docs"),
        ("GET", "/api/nothing", None, "", 404, "/api/nothing"),
        ("GET", "/api/sensors", None, "", 404, "/api/docs"),
        ("GET", "/api/nothing/latest", None, "", 404, "sensors"),
        ("GET", "/api/sensors/<script>", None, "", 404, "/api/docs"),
        ("GET", "/api/docs/nothing", None, "", 404, "/api/docs"),
        ("GET", "/favicon.ico", None, "", 404, "/api/docs"),
        ("POST", "/api/nothing", JSON, "{}", 404, "/api/nothing"),
        ("POST", "/api/nothing", "text/plain", "x", 404, "/api/nothing"),
        ("PUT", "/api/nothing", None, "", 404, "/api/nothing"),
        ("GET", READINGS, None, "", 405, "POST"),
        ("DELETE", READINGS, None, "", 405, "POST"),
        ("POST", "/api/health", JSON, "{}", 405, "GET"),
        ("POST", "/api/sensors/latest", "text/plain", "x", 405, "GET"),
        ("PUT", "/api/sensors/history", JSON, "{}", 405, "GET"),
        ("PATCH", "/api/control", JSON, "{}", 405, "POST"),
        ("POST", READINGS, None, "{}", 415, "application/json"),
        ("POST", READINGS, "text/plain", "{}", 415, "application/json"),
        (
            "POST",
            READINGS,
            "application/x-www-form-urlencoded",
            "temperature=1",
            415,
            "application/json",
        ),
        ("POST", READINGS, "multipart/form-data; boundary=x", "--x--", 415, "application/json"),
        ("POST", READINGS, "nonsense", "{}", 415, "application/json"),
        ("POST", "/api/control", "text/plain", "{}", 415, "application/json"),
        ("POST", "/api/control", None, "{}", 415, "application/json"),
        ("POST", "/api/control", None, "", 415, "application/json"),
        ("POST", READINGS, "application/x-www-form-urlencoded", "", 415, "application/json"),
        (
            "GET",
            "/socket.io?EIO=4",
            None,
            "",
            404,
            "Socket.IO is at /socket.io/, with the slash at the end",
        ),
        ("GET", "/socket.io", None, "", 404, "with the slash at the end"),
        ("POST", READINGS, JSON, "x" * 16_000_001, 413, "16000000"),
        ("POST", "/api/control", JSON, "x" * 65_537, 413, "at most 65536 bytes"),
        ("POST", "/api/mqtt/publish", JSON, "x" * 262_145, 413, "at most 262144 bytes"),
        ("POST", "/api/soil-health/analyze", JSON, "x" * 262_145, 413, "at most 262144 bytes"),
        ("POST", READINGS, JSON, "{", 400, "JSON"),
        ("POST", "/api/control", JSON, "{", 400, "JSON"),
        ("GET", "/api/sensors/history?limit=0", None, "", 400, "limit"),
    ],
)
def test_an_error_is_json_that_says_what_to_do(
    refusing: Api,
    method: str,
    path: str,
    content_type: str | None,
    body: str,
    status: int,
    said: str,
) -> None:
    answer = refusing.client.open(path, method=method, data=body, content_type=content_type)
    assert (answer.status_code, answer.mimetype) == (status, JSON), answer.text
    assert said in json.loads(answer.text)["message"]


@pytest.mark.broker
@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        "application/json;charset=",
        "application/json; charset=us-ascii",
        *(
            f"application/json; {charset}"
            for charset in ("charset=utf-8", 'Charset="UTF-8"', "charset='Utf-8'", "charset=utf8")
        ),
    ],
)
def test_json_may_be_announced_as(api: Api, content_type: str) -> None:
    answer = api.client.post(READINGS, data=json.dumps(reading()), content_type=content_type)
    assert answer.status_code == 201


@pytest.mark.broker
@pytest.mark.parametrize("charset", ["utf-16", "UTF-16LE", "latin1", "iso-8859-1", "x" * 99])
def test_a_body_in_another_encoding_is_415_on_every_path(api: Api, charset: str) -> None:
    for path in (READINGS, "/api/control", "/api/mqtt/publish", "/api/soil-health/analyze"):
        for announced in (f"charset={charset}", f'boundary=x; CHARSET="{charset}"'):
            answer = api.client.post(
                path, data=json.dumps(reading()), content_type=f"{JSON}; {announced}"
            )
            assert (answer.status_code, answer.mimetype) == (415, JSON), answer.text
            shown = f"Content-Type: charset={charset[:40]}"
            expected = f"{shown} is not supported. Send the JSON in UTF-8"
            assert json.loads(answer.text) == {"message": expected}


@pytest.mark.broker
@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "br", "identity, gzip", "aws-chunked", "x" * 99]
)
def test_a_body_that_is_encoded_is_415_on_every_path(api: Api, coding: str) -> None:
    body = gzip.compress(json.dumps(reading()).encode())
    for path in (READINGS, "/api/control", "/api/mqtt/publish", "/api/soil-health/analyze"):
        for data in (body, json.dumps(reading()).encode()):
            answer = api.client.post(
                path, data=data, content_type=JSON, headers={"Content-Encoding": coding}
            )
            assert (answer.status_code, answer.mimetype) == (415, JSON), answer.text
            assert answer.headers["Accept-Encoding"] == "identity"
            expected = (
                f"Content-Encoding: {coding[:40]} is not supported. Send the JSON uncompressed"
            )
            assert json.loads(answer.text) == {"message": expected}


@pytest.mark.broker
@pytest.mark.parametrize("coding", ["identity", "Identity ", ""])
def test_a_body_may_say_that_it_is_not_encoded(api: Api, coding: str) -> None:
    answer = api.client.post(
        READINGS,
        data=json.dumps(reading()),
        content_type=JSON,
        headers={"Content-Encoding": coding},
    )
    assert answer.status_code == 201


@pytest.mark.broker
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/sensors/latest", {"GET", "HEAD", "OPTIONS"}),
        ("GET", READINGS, {"POST", "OPTIONS"}),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = api.client.open(path, method=method)
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers.get("Allow", "").split(",")} == allowed


@pytest.mark.broker
def test_a_body_of_unknown_length_over_the_limit_is_413(api: Api) -> None:
    """A chunked request has no Content-Length to look at."""
    chunked: dict[str, Any] = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for path in (READINGS, "/api/control"):
        answer = api.client.post(
            path, data=b"0" * 16_000_001, content_type=JSON, environ_overrides=chunked
        )
        assert (answer.status_code, answer.mimetype) == (413, JSON), answer.text


@pytest.mark.broker
def test_an_internal_error_is_500_without_a_stack_trace_and_the_log_has_it(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise ZeroDivisionError("the secret of the house")

    api.app.add_url_rule("/api/fail", view_func=fail)
    with caplog.at_level(logging.ERROR):
        answer = api.client.get("/api/fail")
    assert (answer.status_code, answer.mimetype) == (500, JSON)
    assert json.loads(answer.text).keys() == {"message"}
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "the secret of the house" in caplog.text


@pytest.mark.broker
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "sqlite"])
def test_without_the_database_every_endpoint_is_503_and_names_it(
    settings: Callable[..., Settings], scheme: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.db").write_text("this is no database")
    place = (
        f"{tmp_path}/broken.db"
        if scheme == "sqlite"
        else f"user:s3cret@127.0.0.1:{free_port()}/autoforge"
    )
    with running(
        settings(database_url=f"{scheme}://{'/' * (scheme == 'sqlite')}{place}"), prepare=False
    ) as api:
        answers = [
            api.get(path, expect=503) for path in [*DATABASE_PATHS, "/api/rejected", "/api/health"]
        ]
        answers.append(api.post(READINGS, reading(), expect=503))
        retry = api.client.get("/api/sensors/latest").headers["Retry-After"]
        assert api.get("/api/streams")["count"] >= 1
    assert int(retry) > 0
    for answer in answers:
        assert "database" in answer["message"]
        assert ("its file is damaged" if scheme == "sqlite" else "127.0.0.1") in answer["message"]
        assert "s3cret" not in answer["message"]


@pytest.mark.broker
def test_a_head_request_is_answered_like_a_get_without_a_body(api: Api) -> None:
    answer = api.client.head("/api/sensors/history")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, JSON, b"")


@pytest.mark.broker
def test_a_slash_at_the_end_of_a_path_makes_no_difference(api: Api) -> None:
    assert api.get("/api/sensors/history/")["count"] == 0
    assert api.get("/api/health/")["service"] == "AutoForge IoT Backend"


# Who may ask


@pytest.mark.broker
def test_every_origin_may_read_and_post_unless_told_otherwise(api: Api) -> None:
    origin = {"Origin": "https://dashboard.example"}
    for path in ("/api/health", "/api/sensors/latest", "/api/nothing"):
        assert api.client.get(path, headers=origin).headers["Access-Control-Allow-Origin"] in (
            "*",
            origin["Origin"],
        )
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = api.client.options("/api/control", headers=origin | asks)
    assert answer.status_code == 200
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("separator", [",", ", "])
def test_only_the_configured_origins_may_ask(
    settings: Callable[..., Settings], separator: str
) -> None:
    origins = ["https://a.example", "https://b.example"]
    with running(settings(cors_origins=separator.join(origins))) as api:
        for origin in origins:
            answer = api.client.get("/api/health", headers={"Origin": origin})
            assert answer.headers.get("Access-Control-Allow-Origin") == origin
        answer = api.client.get("/api/health", headers={"Origin": "https://c.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("proxy_count", "seen"),
    [
        (0, ["127.0.0.1", "http", "localhost", ""]),
        (1, ["203.0.113.7", "https", "autoforge.example", "/plant"]),
    ],
)
def test_forwarded_headers_are_believed_only_behind_a_configured_proxy(
    settings: Callable[..., Settings], proxy_count: int, seen: list[str]
) -> None:
    forwarded = {
        "For": "203.0.113.7",
        "Proto": "https",
        "Host": "autoforge.example",
        "Prefix": "/plant",
    }
    with running(settings(proxy_count=proxy_count)) as api:
        api.app.add_url_rule(
            "/whoami",
            view_func=lambda: [
                request.remote_addr,
                request.scheme,
                request.host,
                request.root_path,
            ],
        )
        answer = api.client.get(
            "/whoami", headers={f"X-Forwarded-{name}": value for name, value in forwarded.items()}
        )
    assert answer.json == seen
