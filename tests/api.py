"""The REST API for its tests: an app with a prepared database, asked without a server."""

import contextlib
import inspect
import json
from collections.abc import Iterator
from types import CodeType
from typing import Any

from flask_openapi.openapi import OpenAPI
from werkzeug.test import TestResponse

import app as autoforge
from config import Settings
from tests.support import GOOD
from wiring.web import backend_of

NOON = "2026-01-29T12:00:{:09.6f}Z"


class Api:
    """An app, and what it answers: every answer must have the expected status and be JSON."""

    def __init__(self, app: OpenAPI) -> None:
        self.app = app
        self.client = app.test_client()

    def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        """The JSON of a GET; `from_` stands for `from`."""
        query = {key.rstrip("_"): value for key, value in query.items()}
        return _json(self.client.get(path, query_string=query or None), expect)

    def post(self, path: str, body: Any, expect: int = 201, **query: Any) -> Any:
        """The JSON of a POST; text and bytes are sent as they are."""
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        headers = {"content_type": "application/json"}
        return _json(
            self.client.post(path, data=data, query_string=query or None, **headers), expect
        )

    def judge(self, path: str, body: Any, **query: Any) -> Any:
        """Return the answer to a submission; its status must agree with its counts."""
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        response = self.client.post(
            path, data=data, query_string=query or None, content_type="application/json"
        )
        answer = json.loads(response.text)
        taken = answer["stored"] + answer["duplicate"]
        assert response.status_code == (201 if not answer["rejected"] else 207 if taken else 400), (
            response.text
        )
        assert ("message" in answer) == (response.status_code == 400)
        return answer

    def submit(self, *readings: dict[str, Any]) -> None:
        """Store readings of the stream `sensors`; all of them must be new."""
        answer = self.post("/api/sensors/readings", list(readings))
        assert answer == {"stored": len(readings), "duplicate": 0, "rejected": 0, "errors": []}


def handlers(app: OpenAPI) -> dict[str, CodeType]:
    """The code that answers a GET, by rule; the same endpoint of all streams has the same code."""
    return {
        rule.rule: inspect.unwrap(app.view_functions[rule.endpoint]).__code__
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
    }


@contextlib.contextmanager
def running(settings: Settings, start: bool = False, prepare: bool = True) -> Iterator[Api]:
    """An app with a prepared database, with its background if so wished; everything is closed afterwards."""
    app = autoforge.create_app(settings)
    try:
        if prepare:
            backend_of(app).database.prepare()
        if start:
            backend_of(app).start()
        yield Api(app)
    finally:
        backend_of(app).stop()


def reading(device_id: str = "ESP32_001", second: float = 0, **changes: Any) -> dict[str, Any]:
    """A good payload of `sensors` for HTTP, at so many seconds after noon; None leaves a field out."""
    whole = {"device_id": device_id} | GOOD | {"timestamp": noon(second)} | changes
    return {key: value for key, value in whole.items() if value is not None}


def noon(second: float = 0) -> str:
    """A time up to a minute after noon."""
    return NOON.format(second)


def _json(response: TestResponse, expect: int) -> Any:
    assert response.status_code == expect, response.text
    assert response.mimetype == "application/json"
    return json.loads(response.text)
