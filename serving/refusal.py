"""Answers of the server itself, for requests that never reach the application: JSON errors."""

import json
import re
from http import HTTPStatus

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

RETRY_SECONDS = 5
_ABOVE_127 = re.compile("[\x80-\xff]")
_STATUS: dict[type[ParseException], int] = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
}
_HEADERS = {
    "CONTENT-LENGTH": "Content-Length: expected a number, once, and no Transfer-Encoding beside it",
    "CONTENT-TYPE": "Content-Type: send it once, without control characters",
    "HOST": "Host: send it once, without control characters",
    "TRANSFER-ENCODING": "Transfer-Encoding: expected chunked, once, in HTTP/1.1",
}
_NOT_ASCII = "The URL has the byte 0x{:02X}: percent-encode bytes above 127, as %C3%A9 for é"
MAX_MESSAGE = 200


def status_of(error: ParseException) -> int:
    """The status of a request that cannot be understood."""
    status: int = _STATUS.get(type(error), getattr(error, "code", 400))
    # gunicorn blames its own configuration for a wrong SCRIPT_NAME; here a client sent it.
    return 400 if status == HTTPStatus.INTERNAL_SERVER_ERROR else status


def message_of(error: ParseException) -> str:
    """What is wrong with a request that cannot be understood."""
    if isinstance(error, UnsupportedTransferCoding):
        return f"{error}. Send the body as it is, with Content-Length or chunked"
    if isinstance(error, InvalidRequestLine) and (found := _ABOVE_127.search(str(error.req))):
        return _NOT_ASCII.format(ord(found[0]))
    known = _HEADERS.get(str(error.hdr)) if isinstance(error, InvalidHeader) else None
    return known or _as_utf8(str(error))


def _as_utf8(text: str) -> str:
    """Return a text of gunicorn, which decodes every byte of a request as a character."""
    return text.encode("latin-1", "backslashreplace").decode(errors="backslashreplace")


def refusal(status: int, message: str) -> bytes:
    """A whole answer that ends the connection."""
    body = json.dumps({"message": message[:MAX_MESSAGE]}).encode()
    retry = f"Retry-After: {RETRY_SECONDS}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
