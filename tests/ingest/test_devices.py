"""Payloads of real devices through the parser, with the declarations that people would write."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from streams.declaration import load
from tests.families import CASES, message_of, values_of
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from utils.clock import parse

OUTCOMES = {Reading: "stored", Several: "stored", Ignored: "ignored", Rejection: "rejected"}


def parsed(folder: Path, case: dict[str, Any]) -> Parsed:
    (folder / "x.toml").write_text(case["stream"])
    parser = Parser(load(folder, {}, DEVICE_TOPICS))
    for earlier in case.get("before", []):
        parser.parse(message_of(earlier))
    return parser.parse(message_of(case))


def _time(stated: str | None) -> datetime:
    return RECEIVED if stated is None else parse(stated)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["family"]))
def test_a_message_of_a_device_is(case: dict[str, Any], tmp_path: Path) -> None:
    found = parsed(tmp_path, case)
    assert OUTCOMES[type(found)] == case["outcome"], found
    if isinstance(found, Reading | Several):
        readings = found.readings if isinstance(found, Several) else [found]
        expected = [
            (one["device"], one["metrics"], _time(one["timestamp"])) for one in case["expect"]
        ]
        assert [(one.device_id, values_of(one), one.timestamp) for one in readings] == expected
