"""Payloads of real devices through the parser, with the declarations that people would write."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from config import PROJECT
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from utils.clock import parse

CASES = [
    json.loads(line)
    for line in (PROJECT / "tests" / "data" / "devices.jsonl").read_text().splitlines()
]
OUTCOMES = {Reading: "stored", Several: "stored", Ignored: "ignored", Rejection: "rejected"}
LATER = {
    "format sparkplug",
}
"""Parts of the grammar that the parser does not have yet."""


def _is_read(case: dict[str, Any]) -> bool:
    return not LATER.intersection(case["needs"])


def parsed(folder: Path, case: dict[str, Any]) -> Parsed:
    (folder / "x.toml").write_text(case["stream"])
    payload = (
        case["payload"].encode() if "payload" in case else base64.b64decode(case["payload_b64"])
    )
    message = Message(case["topic"], payload, RECEIVED, retained=case.get("retain", False))
    return Parser(load(folder, {}, DEVICE_TOPICS)).parse(message)


def values(reading: Reading) -> dict[str, Any]:
    pairs = zip(reading.stream.metrics, reading.values, strict=True)
    return {metric.name: value for metric, value in pairs if value is not None}


def _time(stated: str | None) -> datetime:
    return RECEIVED if stated is None else parse(stated)


@pytest.mark.parametrize(
    "case", [case for case in CASES if _is_read(case)], ids=lambda case: str(case["family"])
)
def test_a_message_of_a_device_is(case: dict[str, Any], tmp_path: Path) -> None:
    found = parsed(tmp_path, case)
    assert OUTCOMES[type(found)] == case["outcome"], found
    if isinstance(found, Reading | Several):
        readings = found.readings if isinstance(found, Several) else [found]
        expected = [
            (one["device"], one["metrics"], _time(one["timestamp"])) for one in case["expect"]
        ]
        assert [(one.device_id, values(one), one.timestamp) for one in readings] == expected
