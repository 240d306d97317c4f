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
LATER = {"format sparkplug"}
"""Parts of the grammar that the parser does not have yet."""
READ = [case for case in CASES if not LATER.intersection(case["needs"])]


def payload_of(case: Case) -> bytes:
    """The bytes of the message."""
    if "payload" in case:
        return str(case["payload"]).encode()
    return base64.b64decode(case["payload_b64"])
