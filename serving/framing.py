"""How much of an HTTP/1 request has arrived; validating it remains for gunicorn's parser."""

import re
from enum import Enum

MAX_WAITING = 32_768
"""Bytes of a head, and of a body, that wait without a thread; a thread reads longer ones."""
_MOST_DIGITS = 18
_HEAD_END = b"\r\n\r\n"
_NAMES = (b"content-length", b"transfer-encoding", b"expect")
_FIELD = rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)"
_FRAMING = re.compile(_FIELD, re.IGNORECASE)


class Arrived(Enum):
    """What has arrived of a request."""

    PART = 1
    """Wait for more."""
    WHOLE = 2
    """Everything, or enough for the parser to refuse it."""
    STREAM = 3
    """The beginning of a request that a thread reads: it is long, or of unknown length."""


def arrived(data: bytes | bytearray) -> Arrived:
    """Tell what has arrived of the request at the beginning of `data`."""
    end = data.find(_HEAD_END)
    if end < 0:
        if len(data) >= MAX_WAITING:
            return Arrived.STREAM
        # The parser refuses a bare line feed; the end of such a head would never come.
        return Arrived.PART if data.count(b"\n") == data.count(b"\r\n") else Arrived.WHOLE
    # Most requests have no body, which this finds out in a tenth of the time of the expression.
    head = bytes(data[:end]).lower()
    if not any(name in head for name in _NAMES):
        return Arrived.WHOLE
    return _body_arrived(dict(_framing(data, end)), len(data) - end - len(_HEAD_END))


def missing(data: bytes | bytearray) -> str:
    """Tell a client whose request has not arrived in full what is missing."""
    end = data.find(_HEAD_END)
    if end < 0:
        return "its header did not end"
    length = dict(_framing(data, end)).get(b"content-length", b"0").decode("latin-1")
    return f"{len(data) - end - len(_HEAD_END)} of {length} bytes of its body came"


def _framing(data: bytes | bytearray, end: int) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value.strip()) for name, value in _FRAMING.findall(data, 0, end)]


def _body_arrived(fields: dict[bytes, bytes], came: int) -> Arrived:
    if b"transfer-encoding" in fields or b"expect" in fields:
        return Arrived.STREAM
    length = fields.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > _MOST_DIGITS:
        return Arrived.WHOLE
    if came >= int(length):
        return Arrived.WHOLE
    return Arrived.STREAM if int(length) > MAX_WAITING else Arrived.PART
