"""Errors as JSON: a `message` that says what was wrong and what to do."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from flask import Flask, Response, abort, current_app, json, jsonify, make_response, request
from pydantic import ValidationError
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from broker.publisher import PublishError
from database import BadData, Database, Unavailable
from publisher.loader import ConfigurationError
from routes.bodies import limit
from routes.json_provider import UnclearJson
from services.commands import CommandUndelivered, KeyReused
from services.configurations import BadEntry, Conflict, NoSuchEntry, NotWritable
from services.heavy import Busy
from services.submissions import BadSubmission
from streams.registry import Streams
from streams.reserved import RESERVED_NAMES
from utils.text import printable

logger = logging.getLogger(__name__)
MAX_PATH = 3
"""Levels of an error's location in nested JSON that its message names."""
MAX_CODING = 40
_UTF8 = {"", "utf-8", "utf8", "us-ascii"}
"""The encodings whose texts are UTF-8; empty if none is named."""
_MODEL = re.compile(r"a valid dictionary or instance of \w+")
RETRY_AFTER = {"Retry-After": "5"}


class Rule(NamedTuple):
    """How an exception of the application is answered."""

    status: int
    retry: bool = False
    """Whether the same request may succeed later."""
    logged: bool = False
    message: Callable[[Any], str] = str
    details: Sequence[str] = ()
    """Attributes of the exception that the answer has as well."""


def _unavailable(error: Unavailable) -> str:
    return f"The database cannot be used now: {error}. Try again"


def _bad_data(error: BadData) -> str:
    return f"The database cannot do this with what it holds: {error}"


def _unpublished(error: PublishError) -> str:
    if error.may_be_sent:
        return f"{error}. It may have been published all the same"
    return f"{error}. Nothing was published, try again"


RULES: dict[type[Exception], Rule] = {
    BadSubmission: Rule(400),
    BadEntry: Rule(400),
    NoSuchEntry: Rule(404),
    Conflict: Rule(409),
    KeyReused: Rule(422),
    BadData: Rule(422, logged=True, message=_bad_data),
    Busy: Rule(503, retry=True),
    Unavailable: Rule(503, retry=True, logged=True, message=_unavailable),
    PublishError: Rule(503, retry=True, logged=True, message=_unpublished),
    CommandUndelivered: Rule(503, retry=True, logged=True, details=["command_id"]),
    ConfigurationError: Rule(503, retry=True, logged=True),
    NotWritable: Rule(503, retry=True, logged=True),
}


def register(
    app: Flask, streams: Streams, database: Database, body_limits: Mapping[str, int]
) -> None:
    """Make every error of the app a JSON answer."""
    _require_json(app, body_limits)

    @app.errorhandler(NotFound)
    def not_found(_: NotFound) -> tuple[Response, int]:
        return jsonify(message=_nothing_at(request.path, streams)), 404

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> tuple[Response, int]:
        most = request.max_content_length
        message = f"The body is too large: at most {most} bytes"
        if most == app.config["MAX_CONTENT_LENGTH"]:
            message += ". Send it in several requests"
        return jsonify(message=message), 413

    @app.errorhandler(MethodNotAllowed)
    def not_allowed(error: MethodNotAllowed) -> tuple[Response, int, dict[str, str]]:
        allowed = ", ".join(sorted(error.valid_methods or ()))
        message = f"{request.path} does not take {request.method}. It takes: {allowed}"
        return jsonify(message=message), 405, {"Allow": allowed}

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response | tuple[Response, int]:
        if error.response is not None:
            return make_response(error.response)
        return jsonify(message=error.description), error.code or 500

    _refuse_unusable(app, database)
    _register_rules(app)


def _require_json(app: Flask, body_limits: Mapping[str, int]) -> None:
    @app.before_request
    def require_json() -> None:
        if request.method not in ("POST", "PUT") or request.routing_exception is not None:
            return
        # Also without a body: a page of any site can have a browser send other types.
        if not request.is_json:
            raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json")
        if charset := _charset():
            raise UnsupportedMediaType(
                f"Content-Type: charset={charset} is not supported. Send the JSON in UTF-8"
            )
        if coding := _coding():
            message = f"Content-Encoding: {coding} is not supported. Send the JSON uncompressed"
            abort(make_response(jsonify(message=message), 415, {"Accept-Encoding": "identity"}))
        if _is_too_large(limit(request, body_limits) or 0):
            raise RequestEntityTooLarge


def _charset() -> str:
    """Return the encoding that a body is said to have; empty if it may be read as UTF-8."""
    given = printable(request.mimetype_params.get("charset", "").strip("' ")[:MAX_CODING])
    return "" if given.lower() in _UTF8 else given


def _coding() -> str:
    """Return how the body is encoded, which would be read as if it were not; empty if plain."""
    given = printable(request.headers.get("Content-Encoding", "").strip()[:MAX_CODING])
    return "" if given.lower() == "identity" else given


def _is_too_large(most: int) -> bool:
    if request.content_length is None:
        # Of a chunked body werkzeug reads as much as is allowed, without an error.
        return len(request.get_data()) >= most
    return request.content_length > most


def _nothing_at(path: str, streams: Streams) -> str:
    if path.startswith("/socket.io"):
        if "socketio" in current_app.extensions:
            return "Socket.IO is at /socket.io/, with the slash at the end"
        served = "Socket.IO is served by a process of its own, `app:live`"
        return f"{served}; nginx has to send /socket.io/ there"
    known = ", ".join(stream.name for stream in streams)
    if streams.unusable:
        known += f". Not usable, /api/health tells why: {', '.join(streams.unusable)}"
    everything = f"All paths: {request.script_root}/api/docs"
    return f"There is nothing at {path}. Declared streams: {known}. {everything}"


def _refuse_unusable(app: Flask, database: Database) -> None:
    @app.before_request
    def require_usable_stream() -> tuple[Response, int] | None:
        if not database.unusable:
            return None
        name = request.path.removeprefix("/api/").partition("/")[0]
        reason = database.unusable.get(name)
        if reason is None or name in RESERVED_NAMES:
            return None
        return jsonify(message=f"The stream {name} cannot be used: {reason}"), 503


def _register_rules(app: Flask) -> None:
    for kind, rule in RULES.items():
        app.register_error_handler(kind, partial(_respond, rule))

    @app.errorhandler(Exception)
    def internal_error(error: Exception) -> tuple[Response, int]:
        logger.error("%s %s failed", request.method, request.path, exc_info=error)
        return jsonify(message="An internal error; the log of the backend says more"), 500


def _respond(rule: Rule, error: Exception) -> tuple[Response, int, dict[str, str]]:
    message = rule.message(error)
    if rule.logged:
        logger.warning("%s %s: %s", request.method, request.path, message)
    details = {name: getattr(error, name) for name in rule.details}
    return jsonify(message=message, **details), rule.status, RETRY_AFTER if rule.retry else {}


def invalid_arguments(error: ValidationError) -> Response:
    """The answer to a request whose arguments do not validate: 400, naming each of them."""
    has_body = request.method in ("POST", "PUT")
    if has_body:
        try:
            json.loads(request.get_data())
        except UnclearJson as fault:
            return make_response(jsonify(message=str(fault)), 400)
        except (ValueError, RecursionError) as fault:
            return make_response(jsonify(message=f"The body is not JSON: {fault}"), 400)
    message = validation_message(error, "The body" if has_body else "")
    return make_response(jsonify(message=message), 400)


def validation_message(error: ValidationError, whole: str) -> str:
    """What is wrong, naming each argument; `whole` is what they are arguments of."""
    errors = error.errors()
    return "; ".join(_argument_message(tuple(each["loc"]), each["msg"], whole) for each in errors)


def _argument_message(location: tuple[int | str, ...], message: str, whole: str) -> str:
    text = message.removeprefix("Value error, ").replace("Input should", "should")
    text = _MODEL.sub("a JSON object", text)
    name = ".".join(str(part) for part in location[:MAX_PATH])
    return f"{name}: {text}" if name else f"{whole} {text}".strip()
