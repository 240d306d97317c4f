"""Errors as JSON: a `message` that says what was wrong and what to do."""

import logging
import re

from flask import Flask, Response, current_app, json, jsonify, make_response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge, UnsupportedMediaType

from broker.publisher import PublishError
from database import BadData, Database, Unavailable
from publisher.loader import ConfigurationError
from routes.bodies import limit
from services.commands import KeyReused, Undelivered
from services.configurations import BadEntry, Conflict, NoSuchEntry, NotWritable
from services.heavy import Busy
from services.submissions import BadSubmission
from streams.registry import Streams
from streams.reserved import RESERVED_NAMES
from utils.json_provider import RepeatedKey

logger = logging.getLogger(__name__)
MAX_PATH = 3
"""How much of the place of a fault is told; of nested JSON more would help nobody."""
_MODEL = re.compile(r"a valid dictionary or instance of \w+")
RETRY_AFTER = {"Retry-After": "5"}


def register(app: Flask, streams: Streams, database: Database) -> None:
    """Make every error of the app a JSON answer."""

    @app.before_request
    def require_json() -> None:
        if request.method not in ("POST", "PUT") or request.routing_exception is not None:
            return
        # Also where there is no body: other types are what a page of any site may have a browser send.
        if not request.is_json:
            raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json")
        most = limit(request) or 0
        # Of a chunked body werkzeug reads as much as is allowed and says nothing.
        if (request.content_length or 0) > most or (request.content_length is None and len(request.get_data()) >= most):
            raise RequestEntityTooLarge

    @app.errorhandler(NotFound)
    def not_found(_: NotFound) -> tuple[Response, int]:
        return jsonify(message=_nothing_at(request.path, streams)), 404

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> tuple[Response, int]:
        most = request.max_content_length
        several = ". Send it in several requests" if most == app.config["MAX_CONTENT_LENGTH"] else ""
        return jsonify(message=f"The body is too large: at most {most} bytes{several}"), 413

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
    _register_own(app)
    _register_publisher(app)


def _nothing_at(path: str, streams: Streams) -> str:
    if path.startswith("/socket.io"):
        if "socketio" in current_app.extensions:
            return "Socket.IO is at /socket.io/, with the slash at the end"
        return "Socket.IO is served by a process of its own, `app:live`; nginx has to send /socket.io/ there"
    names = ", ".join(stream.name for stream in streams)
    unusable = f". Not usable, /api/health tells why: {', '.join(streams.unusable)}" if streams.unusable else ""
    return f"There is nothing at {path}. Declared streams: {names}{unusable}. All paths: {request.script_root}/api/docs"


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


def _register_own(app: Flask) -> None:
    _register_sentences(app)

    @app.errorhandler(Unavailable)
    def database_away(error: Unavailable) -> tuple[Response, int, dict[str, str]]:
        logger.warning("%s %s: the database cannot be used: %s", request.method, request.path, error)
        return jsonify(message=f"The database cannot be used now: {error}. Try again"), 503, RETRY_AFTER

    @app.errorhandler(Busy)
    def busy(error: Busy) -> tuple[Response, int, dict[str, str]]:
        return jsonify(message=str(error)), 503, RETRY_AFTER

    @app.errorhandler(BadData)
    def bad_data(error: BadData) -> tuple[Response, int]:
        logger.warning("%s %s: the database refuses it: %s", request.method, request.path, error)
        return jsonify(message=f"The database cannot do this with what it holds: {error}"), 422

    @app.errorhandler(PublishError)
    def unpublished(error: PublishError) -> tuple[Response, int, dict[str, str]]:
        logger.warning("%s %s: %s", request.method, request.path, error)
        outcome = "It may have been published all the same" if error.may_be_sent else "Nothing was published, try again"
        return jsonify(message=f"{error}. {outcome}"), 503, RETRY_AFTER

    @app.errorhandler(Undelivered)
    def undelivered(error: Undelivered) -> tuple[Response, int, dict[str, str]]:
        logger.warning("%s %s: %s", request.method, request.path, error)
        return jsonify(message=str(error), command_id=error.command_id), 503, RETRY_AFTER

    @app.errorhandler(Exception)
    def internal_error(error: Exception) -> tuple[Response, int]:
        logger.error("%s %s failed", request.method, request.path, exc_info=error)
        return jsonify(message="An internal error; the log of the backend says more"), 500


def _register_sentences(app: Flask) -> None:
    """Faults of a request whose text is the whole answer."""

    @app.errorhandler(BadSubmission)
    def bad_submission(error: BadSubmission) -> tuple[Response, int]:
        return jsonify(message=str(error)), 400

    @app.errorhandler(KeyReused)
    def key_reused(error: KeyReused) -> tuple[Response, int]:
        return jsonify(message=str(error)), 422


def _register_publisher(app: Flask) -> None:
    @app.errorhandler(BadEntry)
    def bad_entry(error: BadEntry) -> tuple[Response, int]:
        return jsonify(message=str(error)), 400

    @app.errorhandler(NoSuchEntry)
    def no_such_entry(error: NoSuchEntry) -> tuple[Response, int]:
        return jsonify(message=str(error)), 404

    @app.errorhandler(Conflict)
    def conflict(error: Conflict) -> tuple[Response, int]:
        return jsonify(message=str(error)), 409

    @app.errorhandler(ConfigurationError)
    @app.errorhandler(NotWritable)
    def file_unusable(error: ConfigurationError | NotWritable) -> tuple[Response, int, dict[str, str]]:
        logger.warning("%s %s: %s", request.method, request.path, error)
        return jsonify(message=str(error)), 503, RETRY_AFTER


def invalid_arguments(error: ValidationError) -> Response:
    """The answer to a request whose arguments do not validate: 400, naming each of them."""
    has_body = request.method in ("POST", "PUT")
    if has_body:
        try:
            json.loads(request.get_data())
        except RepeatedKey as fault:
            return make_response(jsonify(message=str(fault)), 400)
        except (ValueError, RecursionError) as fault:
            return make_response(jsonify(message=f"The body is not JSON: {fault}"), 400)
    return make_response(jsonify(message=sentences(error, "The body" if has_body else "")), 400)


def sentences(error: ValidationError, whole: str) -> str:
    """What is wrong, naming each argument; `whole` is what they are arguments of."""
    return "; ".join(_sentence(tuple(fault["loc"]), fault["msg"], whole) for fault in error.errors())


def _sentence(location: tuple[int | str, ...], message: str, whole: str) -> str:
    text = message.removeprefix("Value error, ").replace("Input should", "should")
    text = _MODEL.sub("a JSON object", text)
    name = ".".join(str(part) for part in location[:MAX_PATH])
    return f"{name}: {text}" if name else f"{whole} {text}".strip()
