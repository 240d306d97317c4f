"""Validate a topic in a setting; one of its levels is the device id."""

from utils.mqtt_text import topic_error

DEVICE = "{device_id}"
_ALLOWED = f"must be a topic such as sensors/{DEVICE}/data"


def checked(text: str) -> str:
    """Return the topic with `{device_id}` for a plain `+`. Raises ValueError for an invalid one."""
    if error := _error_of_text(text) or _error_of_levels(
        text.replace("+", DEVICE).split("/"), text
    ):
        raise ValueError(f"{_ALLOWED}: {error}")
    return text.replace("+", DEVICE)


def _error_of_text(text: str) -> str:
    if error := topic_error(text):
        return error
    if text.startswith("$share/"):
        return "it is a shared subscription; leave out $share and the group"
    if text.startswith("$"):
        return "it begins with $, which is for the broker's own topics"
    if "#" in text:
        return "it has a #, which stands for any number of levels"
    return ""


def _error_of_levels(levels: list[str], text: str) -> str:
    if not levels[0]:
        return "it begins with /, which makes its first level empty"
    if not levels[-1]:
        return "it ends with /, which makes its last level empty"
    if "" in levels:
        return "it has // and so an empty level"
    for level, shown in zip(levels, text.split("/"), strict=True):
        if level != DEVICE and set(level) & set("{}"):
            return f"{shown!r} must be plain text; + or {DEVICE} stands alone in its level"
    devices = levels.count(DEVICE)
    if devices != 1:
        return f"exactly one level must be {DEVICE} or +, not {devices or 'none'}"
    return ""
