"""Refuse a repeated header that takes one value, because WSGI joins the values with commas."""

from typing import Any

from gunicorn.http.errors import ParseException

_SINGLE = {
    "IDEMPOTENCY-KEY": "Idempotency-Key",
    "LAST-EVENT-ID": "Last-Event-ID",
    "ORIGIN": "Origin",
    "SEC-FETCH-SITE": "Sec-Fetch-Site",
}
"""The headers that AutoForge reads, by gunicorn's name; without lists, and without Host and
Content-Type, which gunicorn itself checks."""


class RepeatedHeader(ParseException):  # type: ignore[misc]  # gunicorn has no types
    """A header with one value was sent more than once; the text says which."""


def check_single(request: Any) -> None:
    """Raise RepeatedHeader for a header that must not be repeated."""
    names = [name for name, _ in request.headers if name in _SINGLE]
    for name in dict.fromkeys(names):
        if (times := names.count(name)) > 1:
            raise RepeatedHeader(f"{_SINGLE[name]}: sent {times} times; send it once")
