"""JSON payloads: check the bytes of a payload, and decode the JSON in them; pure."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ingest.showing import Spelled
from ingest.values import PayloadError
from utils import lenient_json
from utils.lenient_json import BOM

MAX_PAYLOAD = 65_536
"""Bytes of a payload with one reading; most are far smaller."""
MAX_READINGS = 10_000
"""Readings of a message, or of a request over HTTP."""
BLANK = BOM + b" \t\r\n"
"""Bytes that may stand before JSON."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SPELLED: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Spelled)


def decode_reading(payload: bytes, most: int = MAX_PAYLOAD) -> Any:
    """Decode any JSON of at most that many bytes, with each number as the device wrote it.

    Raises PayloadError.
    """
    return _decode(payload, lambda text: lenient_json.decoded(text, _SPELLED.decode), most)


def decode_untyped(payload: bytes) -> Any:
    """Decode any JSON. Raises PayloadError."""
    return _decode(payload, msgspec.json.decode, MAX_PAYLOAD)


def _decode(payload: bytes, decode: Callable[[bytes], Any], most: int) -> Any:
    content = checked(payload, most)
    if b"\\u0000" in content and _NUL.search(content):  # the expression alone is slow
        raise PayloadError("invalid_text", "a NUL character (\\u0000) cannot be stored")
    try:
        return decode(content)
    except msgspec.DecodeError as error:
        if "out of range" in str(error):
            message = "a number is too large to be stored"
            raise PayloadError("number_out_of_range", message) from error
        message = f"not valid JSON: {lenient_json.why(content)}"
        raise PayloadError("invalid_json", message) from error
    except RecursionError as error:
        raise PayloadError("too_deep", "the JSON is nested too deeply") from error


def checked(payload: bytes, most: int = MAX_PAYLOAD) -> bytes:
    """Return the payload without a BOM; check its size and encoding. Raises PayloadError."""
    payload = payload.removeprefix(BOM)
    check_size(payload, most)
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise PayloadError("invalid_utf8", f"byte {error.start} is not valid UTF-8") from error
    return payload


def check_size(payload: bytes, most: int = MAX_PAYLOAD) -> None:
    """Check that a payload is neither empty nor too large. Raises PayloadError."""
    if not payload.strip():
        raise PayloadError("empty_payload", "the payload is empty")
    if len(payload) > most:
        raise PayloadError("too_large", f"{len(payload)} bytes; at most {most} are allowed")


def begins_array(content: bytes) -> bool:
    """Return whether a payload may be an array."""
    return content[:64].lstrip(BLANK).startswith(b"[")
