"""The readings of one document, and what is common to formats that consist of lines."""

import io
from collections.abc import Sequence
from typing import Any

from ingest.json_payloads import MAX_READINGS, checked
from ingest.unpacking import MAX_UNPACKED
from ingest.values import PayloadError

Object = dict[str, Any]


def document_of(members: Sequence[Object | PayloadError]) -> Any:
    """Return a single reading by itself, or else the list of them. Raises PayloadError.

    An error stands for a reading that cannot be decoded, so that the others can be read.
    """
    if not members:
        raise PayloadError("empty_payload", "the payload has no reading")
    if len(members) > 1:
        return list(members)
    only = members[0]
    if isinstance(only, PayloadError):
        raise only
    return only


def check_count(readings: int) -> None:
    """Check how many readings a payload has at most. Raises PayloadError."""
    if readings > MAX_READINGS:
        message = f"{readings} lines or records; at most {MAX_READINGS} are allowed"
        raise PayloadError("too_large", message)


def lines_of(payload: bytes) -> list[str]:
    """Return the lines of a payload, with their ends. Raises PayloadError."""
    # Only \n, \r and \r\n end a line, unlike for `splitlines`.
    lines = list(io.StringIO(_text_of(payload), newline=""))
    check_count(len(lines))
    return lines


def _text_of(payload: bytes) -> str:
    content = checked(payload, MAX_UNPACKED)
    if (place := content.find(b"\0")) >= 0:
        message = f"byte {place} is a NUL character, which cannot be stored"
        raise PayloadError("invalid_text", message)
    return content.decode()
