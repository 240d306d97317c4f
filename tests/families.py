"""Messages of real devices, with the declarations that people would write and what must come out."""

import base64
import json
from typing import Any

from broker.message import Message
from config import PROJECT
from ingest.message import Reading
from tests.parsing import RECEIVED

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


def message_of(case: Case) -> Message:
    """The message, as it is received."""
    retained = case.get("retain", False)
    return Message(case["topic"], payload_of(case), RECEIVED, retained=retained)


def values_of(reading: Reading) -> dict[str, Any]:
    """The metrics that have a value."""
    pairs = zip(reading.stream.metrics, reading.values, strict=True)
    return {metric.name: value for metric, value in pairs if value is not None}
