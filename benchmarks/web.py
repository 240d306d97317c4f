"""The backend for gunicorn with one additional route: a constant to compare `GET /latest` with."""

from typing import Any

from flask import Flask
from flask_openapi.openapi import OpenAPI

from app import create_app
from config import load_settings
from utils.json_types import JsonObject

CONSTANT = {
    "data": {
        "device_id": "bench-000",
        "temperature": 24.5,
        "vibration": 12.3,
        "gas": 450.0,
        "power": 250.5,
    }
}


def with_constant(backend: OpenAPI) -> OpenAPI:
    """Add a plain Flask application with the constant; only the server is shared."""
    plain = Flask("constant")

    @plain.get("/constant")
    def constant() -> JsonObject:
        return CONSTANT

    wrapped = backend.wsgi_app

    def dispatch(environ: Any, start_response: Any) -> Any:
        application = plain.wsgi_app if environ["PATH_INFO"] == "/constant" else wrapped
        return application(environ, start_response)

    backend.wsgi_app = dispatch  # type: ignore[method-assign]  # the way Flask documents
    return backend


def __getattr__(name: str) -> OpenAPI:
    """Create `app` when gunicorn asks for it."""
    if name != "app":
        raise AttributeError(name)
    return with_constant(create_app(load_settings()))
