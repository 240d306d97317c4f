"""Checks of texts that a client sends to a broker: its id, its login."""

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
