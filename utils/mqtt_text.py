"""Checks of texts that a client sends to a broker: its id, its login."""

import unicodedata

MOST_BYTES = 65_535
"""The longest text in an MQTT packet."""


def sendable(text: str) -> str:
    """Return a text that MQTT can carry. Raises ValueError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    if not 1 <= size <= MOST_BYTES:
        raise ValueError(f"must have 1 to {MOST_BYTES:,} bytes, and has {size:,}")
    if "\0" in text:
        raise ValueError("must have no character U+0000")
    return text


def accepted(text: str) -> str:
    """Return a text that brokers accept. Raises ValueError."""
    # MQTT lets a broker close the connection at these, and Mosquitto does.
    if any(unicodedata.category(character) == "Cc" or _is_none(character) for character in text):
        raise ValueError("must have no control characters, such as line breaks")
    return sendable(text)


def _is_none(character: str) -> bool:
    """Return whether Unicode says that this is not a character."""
    code = ord(character)
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
