"""The Python types of JSON."""

from typing import Any

JsonObject = dict[str, Any]
