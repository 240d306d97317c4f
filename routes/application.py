"""Create the Flask application: OpenAPI document, JSON, CORS and proxy headers."""

from flask_cors import CORS
from flask_openapi.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter

from config import Settings
from routes import errors
from routes.answers import Error
from routes.document import DocumentedApp
from routes.json_provider import CompactJson, IndentedJson
from utils import origins

MAX_BODY = 16_000_000


class _PlainInteger(IntegerConverter):
    """A whole number in a path; digits of other scripts, or too many of them, match nothing."""

    regex = "[0-9]{1,19}"


def application(settings: Settings) -> OpenAPI:
    """Return an application without any routes."""
    app = DocumentedApp(
        __name__,
        validation_error_status=400,
        validation_error_model=Error,
        validation_error_callback=errors.invalid_arguments,
        static_folder=None,
    )
    app.json = IndentedJson(app) if settings.flask_env == "development" else CompactJson(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.converters["int"] = _PlainInteger
    CORS(app, origins=origins.patterns(settings.origins))
    if settings.proxy_count:
        n = settings.proxy_count
        wrapped = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=n, x_prefix=n)
        app.wsgi_app = wrapped  # type: ignore[method-assign]  # the way Flask documents
    return app
