"""How long the body of each operation may be: JSON takes many times its bytes in memory, whatever comes of it."""

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
"""Bytes, by rule. Parameters of a command and a message of their largest size fit also where each character is escaped.

The others take readings, of which there may be many.
"""


def limit(request: Request) -> int | None:
    """Hold a request to the limit of its operation; None where there is none."""
    if request.url_rule is not None and request.url_rule.rule in LIMITS:
        request.max_content_length = LIMITS[request.url_rule.rule]
    return request.max_content_length
