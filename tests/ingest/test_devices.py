"""Payloads of real devices through the parser, with the declarations that people would write."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from config import PROJECT
from ingest.message import Ignored, Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from utils.clock import parse

CASES = [
    json.loads(line)
    for line in (PROJECT / "tests" / "data" / "devices.jsonl").read_text().splitlines()
]
OUTCOMES = {Reading: "stored", Ignored: "ignored", Rejection: "rejected"}
LATER = {
    *("explode", "pairs", "root array"),
    *("format cbor", "format csv", "format influx", "format msgpack", "format senml"),
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


def _time(stated: str | None) -> datetime:
    return RECEIVED if stated is None else parse(stated)


@pytest.mark.parametrize(
    "case", [case for case in CASES if _is_read(case)], ids=lambda case: str(case["family"])
)
def test_a_message_of_a_device_is(case: dict[str, Any], tmp_path: Path) -> None:
    found = parsed(tmp_path, case)
    assert OUTCOMES[type(found)] == case["outcome"], found
    if isinstance(found, Reading):
        (expected,) = case["expect"]
        present = zip(found.stream.metrics, found.values, strict=True)
        values = {metric.name: value for metric, value in present if value is not None}
        assert values == expected["metrics"]
        assert found.device_id == expected["device"]
        assert found.timestamp == _time(expected["timestamp"])
