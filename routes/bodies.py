"""Limit the body size by operation, because parsed JSON takes many times its size in memory."""

from flask import Request

LIMITS = {
    "/api/control": 65_536,
    "/api/mqtt/publish": 262_144,
    "/api/publisher/configs": 1_000_000,
    "/api/publisher/configs/<id>": 1_000_000,
    "/api/publisher/reload": 10_000,
    "/mqtt/reload": 10_000,
    "/api/soil-health/analyze": 262_144,
}
"""Bytes by rule.

The largest parameters of a command and the largest message fit even with every character escaped.
Operations that are not listed take readings, possibly many.
"""


def limit(request: Request) -> int | None:
    """Apply the limit of its operation to a request and return it; None without a limit."""
    if request.url_rule is not None and request.url_rule.rule in LIMITS:
        request.max_content_length = LIMITS[request.url_rule.rule]
    return request.max_content_length
