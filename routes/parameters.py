"""Accept only the query parameters in the OpenAPI document, each of them once."""

from collections.abc import Iterable, Mapping
from typing import Any

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


def register(app: OpenAPI) -> None:
    """Reject unknown and repeated query parameters, which would silently change the request."""
    known: dict[tuple[str, str], Mapping[str, Parameter] | None] = {}

    @app.before_request
    def check_parameters() -> None:
        rule = request.url_rule
        if not request.query_string or rule is None or rule.rule in LENIENT:
            return
        endpoint = rule.rule, request.method
        if endpoint not in known:
            operation = _operation(app.paths, *endpoint)
            known[endpoint] = None if operation is None else taken(operation)
        takes = known[endpoint]
        if takes is not None and (found := errors_in(takes, request.args.lists())):
            abort(make_response(jsonify(message="; ".join(found[:MAX_ERRORS])), 400))


def taken(operation: Operation) -> Mapping[str, Parameter]:
    """Return the query parameters of an operation by name."""
    return {item.name: item for item in operation.parameters or () if _in_query(item)}


def errors_in(takes: Mapping[str, Parameter], given: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Return a sentence for each invalid query parameter."""
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
    return f"{shown}: there is no such parameter; {known}"


def _takes_several(parameter: Parameter) -> bool:
    declared = parameter.param_schema
    return getattr(declared, "type", None) == "array"
