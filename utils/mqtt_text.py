"""Checks of texts that a client sends to a broker: its id, its login, its topics."""

import unicodedata

from utils.text import NONCHARACTER, invisible_code

MOST_BYTES = 65_535
"""The longest text in an MQTT packet."""
MOST_CHARACTERS = 1024
MOST_LEVELS = 200
"""Mosquitto closes a connection that subscribes or publishes with more."""


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
    if NONCHARACTER.search(text) or "Cc" in map(unicodedata.category, text):
        raise ValueError("must have no control characters, such as line breaks")
    return sendable(text)


def topic_error(text: str) -> str:
    """Return why no broker takes a text as topic or filter, or an empty text."""
    if len(text) > MOST_CHARACTERS:
        return f"it has {len(text):,} characters, at most {MOST_CHARACTERS:,} are allowed"
    if code := invisible_code(text):
        return f"it has the invisible character {code}"
    levels = text.count("/") + 1
    if levels > MOST_LEVELS:
        return f"it has {levels} levels, at most {MOST_LEVELS} are allowed"
    return ""
