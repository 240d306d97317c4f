"""Limit the body size by operation, because parsed JSON takes many times its size in memory."""

from collections.abc import Mapping

from flask import Request

LIMITS = {
    "/api/control": 65_536,
    "/api/publisher/configs": 1_000_000,
    "/api/publisher/configs/<id>": 1_000_000,
    "/api/publisher/reload": 10_000,
    "/mqtt/reload": 10_000,
}
"""Bytes by rule; integrations have limits of their own.

The largest parameters of a command fit even with every character escaped.
Operations without a limit take readings, possibly many.
"""


def limit(request: Request, limits: Mapping[str, int]) -> int | None:
    """Apply the limit of its operation to a request and return it; None without a limit."""
    if request.url_rule is not None and request.url_rule.rule in limits:
        request.max_content_length = limits[request.url_rule.rule]
    return request.max_content_length
