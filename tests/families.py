"""Messages of real devices, with the declarations that people would write and what must come out."""

import base64
import json
from typing import Any

from config import PROJECT

Case = dict[str, Any]
"""`family`, `stream`, `topic`, `payload` or `payload_b64`, `outcome`, `expect`, and so on."""
CASES: list[Case] = [
    json.loads(line)
    for line in (PROJECT / "tests" / "data" / "devices.jsonl").read_text().splitlines()
]


def payload_of(case: Case) -> bytes:
    """The bytes of the message."""
    if "payload" in case:
        return str(case["payload"]).encode()
    return base64.b64decode(case["payload_b64"])
