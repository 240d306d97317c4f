"""Nested JSON: what is too deep to be written and read again by everyone is refused on every way in."""

import json
from typing import Any

import pytest

import queries.rejected
from broker.message import Message
from database import Database
from streams.registry import Streams
from tests.api import Api
from tests.parsing import RECEIVED
from tests.pipelines import new_pipeline
from utils.identity import MAX_DEPTH, nesting_fault

FAULT = "it is nested more than 32 deep"


def nested(depth: int, kind: type[Any] = list) -> Any:
    """So many lists, objects, or (`tuple`) both in turn, around a number."""
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if kind is dict or (kind is tuple and level % 2) else [value]
    return value


@pytest.mark.parametrize("kind", [list, dict, tuple])
def test_the_depth_counts_whatever_it_is_made_of(kind: type[Any]) -> None:
    assert nesting_fault(nested(MAX_DEPTH - 1, kind)) is None
    assert nesting_fault(nested(MAX_DEPTH + 1, kind)) == FAULT


@pytest.mark.parametrize("value", [1, None, "[[[", [], {}, [[1] * 1000] * 1000])
def test_what_is_wide_or_flat_is_not_deep(value: Any) -> None:
    assert nesting_fault(value) is None


def test_the_deepest_place_counts_wherever_it_is() -> None:
    assert nesting_fault([1, {"a": 1, "b": [2, nested(40)], "c": 3}, 4]) == FAULT


def test_an_acknowledgement_with_a_deep_result_is_set_aside(
    database: Database, streams: Streams
) -> None:
    results = [nested(40), {"a": nested(40, dict)}, [1, nested(40, tuple)], nested(30)]
    said = [
        json.dumps({"command_id": "c", "status": "succeeded", "result": result}).encode()
        for result in results
    ]
    messages = [
        Message("control/ESP32_001/ack", text, RECEIVED, number + 1)
        for number, text in enumerate(said)
    ]
    with database.write() as connection:
        new_pipeline(database, streams).handle(connection, messages)
    with database.read() as reader:
        assert queries.rejected.counts(reader) == {"too_deep": 3, "unknown_command": 1}
        kept = queries.rejected.page(reader, {"reason": "too_deep"}, 10, 0)
    assert [row["payload"] for row in kept] == said[2::-1]
    assert {row["message"] for row in kept} == {f"result: {FAULT}"}


@pytest.mark.parametrize("kind", [list, dict, tuple])
def test_a_command_with_deep_parameters_is_refused(sqlite_api: Api, kind: type[Any]) -> None:
    command = {
        "device_id": "ESP32_001",
        "command": "restart",
        "parameters": {"a": nested(40, kind)},
    }
    assert sqlite_api.post("/api/control", command, 400) == {"message": f"parameters: {FAULT}"}
    assert sqlite_api.get("/api/control")["data"] == []


@pytest.mark.parametrize("depth", [1_000, 30_000])
def test_a_command_that_is_nothing_but_deep_is_refused(sqlite_api: Api, depth: int) -> None:
    body = (
        '{"device_id":"ESP32_001","command":"restart","parameters":{"a":'
        + "[" * depth
        + "]" * depth
        + "}}"
    )
    assert sqlite_api.post("/api/control", body, 400)["message"]
    assert sqlite_api.get("/api/control")["data"] == []
