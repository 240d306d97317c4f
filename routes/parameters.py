"""Accept only the query parameters in the OpenAPI document, each of them once, in UTF-8."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from flask import abort, jsonify, make_response, request
from flask_openapi.models.operation import Operation
from flask_openapi.models.parameter import Parameter
from flask_openapi.models.parameter_in_type import ParameterInType
from flask_openapi.openapi import OpenAPI
from flask_openapi.utils import parse_rule

from utils.text import printable

LENIENT = {"/health", "/api/health"}
"""Requests of load balancers and monitors, which add parameters of their own."""
MAX_NAME = 60
MAX_ERRORS = 5
_NOT_ENCODED = re.compile(rb"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_ENCODED = "% must be followed by two hexadecimal digits; %25 is the character %"


def register(app: OpenAPI) -> None:
    """Reject unknown and repeated query parameters, which would silently change the request."""
    known: dict[tuple[str, str], Mapping[str, Parameter] | None] = {}

    @app.before_request
    def check_parameters() -> None:
        rule = request.url_rule
        if rule is None or rule.rule in LENIENT:
            return
        if faults := undecodable(_decoded_path(), _target(), request.query_string):
            _refuse(faults)
        if not request.query_string:
            return
        endpoint = rule.rule, request.method
        if endpoint not in known:
            operation = _operation(app.paths, *endpoint)
            known[endpoint] = None if operation is None else taken(operation)
        takes = known[endpoint]
        if takes is not None and (found := errors_in(takes, request.args.lists())):
            _refuse(found)


def _refuse(faults: list[str]) -> NoReturn:
    abort(make_response(jsonify(message="; ".join(faults[:MAX_ERRORS])), 400))


def _decoded_path() -> bytes:
    """Return the bytes of the path; werkzeug replaces bytes that it cannot decode."""
    path: str = request.environ.get("PATH_INFO", "")
    return path.encode("latin-1")  # as WSGI has them


def _target() -> bytes:
    """Return the URL as it was sent; PATH_INFO has `%zz` for both `%zz` and `%25zz`."""
    target: str = request.environ.get("RAW_URI", "")
    return target.encode("latin-1", "replace")


def undecodable(path: bytes, target: bytes, query: bytes) -> list[str]:
    """Return a message for each part of a URL that cannot be decoded to UTF-8.

    `path` is decoded already; `target` is the URL as it was sent.
    """
    faults = [] if _is_utf8(path) else ["the path: not valid UTF-8"]
    if found := _NOT_ENCODED.search(target.partition(b"?")[0]):
        faults.append(f"the path: {_shown(found[0])}: {_ENCODED}")
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if found := _NOT_ENCODED.search(part):
            faults.append(f"{_shown(name)}: {_shown(found[0])}: {_ENCODED}")
        elif not _is_utf8(unquote_to_bytes(name)):
            faults.append(f"{_shown(name)}: the name of a parameter must be valid UTF-8")
        elif not _is_utf8(unquote_to_bytes(value)):
            faults.append(f"{_shown(name)}: {_shown(value)} is not valid UTF-8")
    return faults


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(raw: bytes) -> str:
    """Return the beginning of a part of a query string as it was sent."""
    return printable(raw[:MAX_NAME].decode("ascii", "backslashreplace"))


def taken(operation: Operation) -> Mapping[str, Parameter]:
    """Return the query parameters of an operation by name."""
    return {item.name: item for item in operation.parameters or () if _in_query(item)}


def errors_in(takes: Mapping[str, Parameter], given: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Return a message for each invalid query parameter."""
    return [
        _error(takes, name, values)
        for name, values in given
        if name not in takes or (len(values) > 1 and not _takes_several(takes[name]))
    ]


def _operation(paths: Mapping[str, Any], rule: str, method: str) -> Operation | None:
    item = paths.get(parse_rule(rule))
    return getattr(item, "get" if method == "HEAD" else method.lower(), None)


def _in_query(item: Any) -> bool:
    return isinstance(item, Parameter) and item.param_in == ParameterInType.QUERY


def _error(takes: Mapping[str, Parameter], name: str, values: list[str]) -> str:
    shown = printable(name[:MAX_NAME])
    if name in takes:
        return f"{shown}: given {len(values)} times; it takes one value"
    known = f"known: {', '.join(takes)}" if takes else "this path takes none"
    if not name.strip():
        return f"a parameter has no name; {known}"
    return f"{shown}: there is no such parameter; {known}"


def _takes_several(parameter: Parameter) -> bool:
    declared = parameter.param_schema
    return getattr(declared, "type", None) == "array"
