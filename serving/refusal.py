"""Answers of the server itself, for requests that never reach the application: JSON errors."""

import json
from http import HTTPStatus

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

RETRY_SECONDS = 5
_STATUS: dict[type[ParseException], int] = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
}
_HEADERS = {
    "CONTENT-LENGTH": "Content-Length: expected a number, once, and no Transfer-Encoding beside it",
    "TRANSFER-ENCODING": "Transfer-Encoding: expected chunked, once, in HTTP/1.1",
}
MAX_SAID = 200


def status_of(error: ParseException) -> int:
    """The status of a request that cannot be understood."""
    status: int = _STATUS.get(type(error), getattr(error, "code", 400))
    # gunicorn blames its own configuration for a wrong SCRIPT_NAME; here a client sent it.
    return 400 if status == HTTPStatus.INTERNAL_SERVER_ERROR else status


def message_of(error: ParseException) -> str:
    """What is wrong with a request that cannot be understood."""
    if isinstance(error, UnsupportedTransferCoding):
        return f"{error}. Send the body as it is, with Content-Length or chunked"
    known = _HEADERS.get(str(error.hdr)) if isinstance(error, InvalidHeader) else None
    return known or str(error)


def refusal(status: int, message: str) -> bytes:
    """A whole answer that ends the connection."""
    body = json.dumps({"message": message[:MAX_SAID]}).encode()
    retry = f"Retry-After: {RETRY_SECONDS}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
