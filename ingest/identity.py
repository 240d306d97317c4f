"""What a device id, a text value and nested JSON may be, for messages and for HTTP alike."""

import unicodedata
from functools import lru_cache

from models import MAX_DEVICE_ID, MAX_TEXT

MAX_DEPTH = 32
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


def nesting_fault(value: object) -> str | None:
    """What is wrong with the depth of a JSON value, or None."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return None
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
    return f"it is nested more than {MAX_DEPTH} deep"


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
