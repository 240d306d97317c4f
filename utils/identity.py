"""Limits of device ids, text values and nested JSON, for MQTT messages and HTTP alike."""

from utils.caching import remembering
from utils.text import invisible_code, nested_deeper

MAX_DEVICE_ID = 128
MAX_TEXT = 255
"""Characters of a value of a text metric."""
MAX_DEPTH = 32


def _device_id_fault(device_id: str) -> str | None:
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


device_id_fault = remembering(_device_id_fault, 20_000)
"""Return what is wrong with a device id, or None; it must be usable as one level of a topic."""


def nesting_fault(value: object) -> str | None:
    """Return what is wrong with the depth of a JSON value, or None."""
    return f"it is nested more than {MAX_DEPTH} deep" if nested_deeper(value, MAX_DEPTH) else None


def _text_fault(text: str) -> str | None:
    if len(text) > MAX_TEXT:
        return f"the text has {len(text)} characters; at most {MAX_TEXT} are allowed"
    return _invisible_fault("the text", text)


text_fault = remembering(_text_fault, 10_000)
"""Return what is wrong with a text value, or None."""


def _invisible_fault(what: str, text: str) -> str | None:
    code = invisible_code(text)
    return f"{what} must not contain the invisible character {code}" if code else None
