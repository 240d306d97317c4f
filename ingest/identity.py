"""What a device id and a text value may contain, for messages and for HTTP alike."""

import unicodedata
from functools import lru_cache

from models import MAX_DEVICE_ID, MAX_TEXT

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@lru_cache(maxsize=100_000)
def device_id_fault(device_id: str) -> str | None:
    """What is wrong with a device id, or None. It must be able to stand as one level of a topic."""
    if not device_id:
        return "the device id is empty"
    if len(device_id) > MAX_DEVICE_ID:
        return f"the device id has {len(device_id)} characters; at most {MAX_DEVICE_ID} are allowed"
    if any(character in device_id for character in "+#/"):
        return "the device id must not contain + # or /"
    if device_id in (".", ".."):
        return "the device id must not be . or .."
    if device_id != device_id.strip():
        return "the device id must not begin or end with white space"
    return _invisible_fault("the device id", device_id)


@lru_cache(maxsize=10_000)
def text_fault(text: str) -> str | None:
    """What is wrong with a text value, or None."""
    if len(text) > MAX_TEXT:
        return f"the text has {len(text)} characters; at most {MAX_TEXT} are allowed"
    return _invisible_fault("the text", text)


def _invisible_fault(what: str, text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) in _INVISIBLE:
            return f"{what} must not contain the invisible character U+{ord(character):04X}"
    return None
