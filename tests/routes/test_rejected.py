"""`/api/rejected`: what was set aside and why, its bytes, and how full the table is."""

import base64
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from broker.message import Message
from config import Settings
from ingest.rejected import RejectedLimits
from services import rejected as filling
from tests.api import Api, reading, running
from tests.pipelines import new_pipeline
from utils import clock

BINARY = bytes(range(256)) * 8


def reject(
    api: Api,
    *payloads: bytes,
    topic: str = "sensors/ESP32_001/data",
    limits: RejectedLimits | None = None,
) -> None:
    """Have messages set aside as if they had come by MQTT."""
    database = api.app.extensions["autoforge"].database
    pipeline = new_pipeline(database, _streams(api), limits=limits)
    with database.write() as connection:
        pipeline.handle(
            connection, [Message(topic, payload, clock.now(), 1) for payload in payloads]
        )


def _streams(api: Api) -> Any:
    return api.app.extensions["autoforge"].streams


def test_rejected_messages_are_listed_newest_first_with_exact_counts(api: Api) -> None:
    api.judge(
        "/api/sensors/readings",
        [reading("a", gas=None), reading("b", temperature="hot"), reading("c", gas=None)],
    )
    answer = api.get("/api/rejected", limit=2)
    assert (answer["count"], answer["limit"], answer["offset"]) == (2, 2, 0)
    assert answer["counts"] == {"missing_field": 2, "not_a_number": 1}
    assert [(item["reason"], item["device_id"]) for item in answer["data"]] == [
        ("missing_field", "c"),
        ("not_a_number", "b"),
    ]
    newest = answer["data"][0]
    assert newest["stream"] == "sensors"
    assert '"device_id": "c"' in newest["payload"]
    assert newest["payload_size"] == len(newest["payload"])
    assert newest["truncated"] is False
    assert "gas" in newest["message"]
    assert [item["id"] for item in api.get("/api/rejected", offset=1)["data"]] == [
        newest["id"] - 1,
        newest["id"] - 2,
    ]


PICKED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["c", "b", "a"]),
    ({"reason": "not_a_number"}, ["b"]),
    ({"device_id": "a"}, ["a"]),
    ({"device_id": "A"}, []),
    ({"stream": "sensors"}, ["c", "b", "a"]),
    ({"stream": "soil"}, []),
    ({"stream": "sensors", "device_id": "c", "reason": "missing_field"}, ["c"]),
    ({"device_id": "c", "reason": "not_a_number"}, []),
    ({"reason": "'; --"}, []),
    ({"reason": "ü🌡️"}, []),
]


def test_they_can_be_picked_by_reason_stream_and_device(api: Api) -> None:
    api.judge(
        "/api/sensors/readings",
        [reading("a", gas=None), reading("b", temperature="hot"), reading("c", gas=None)],
    )
    for query, found in PICKED:
        assert [item["device_id"] for item in api.get("/api/rejected", **query)["data"]] == found, (
            query
        )


def test_a_text_that_no_database_can_hold_is_no_server_error(api: Api) -> None:
    for name in ("reason", "stream", "device_id"):
        assert api.client.get("/api/rejected", query_string={name: "\0"}).status_code in (200, 400)


@pytest.mark.parametrize(
    ("name", "value"), [("limit", 0), ("limit", 1001), ("limit", "x"), ("offset", -1)]
)
def test_a_bad_page_is_400_and_named(sqlite_api: Api, name: str, value: Any) -> None:
    assert sqlite_api.get("/api/rejected", expect=400, **{name: value})["message"].startswith(
        f"{name}: "
    )


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\xff\x00{", "\\xff\0{"),
        ("né".encode(), "né"),
        (b"x" * 3_000, "x" * 1_024),
        (b"x" * 1_023 + "é".encode() * 9, "x" * 1_023),
        (b"x" * 1_021 + b"\xc3", "x" * 1_021 + "\\xc3"),
    ],
    ids=["binary", "text", "long", "cut within a letter", "ends within a letter"],
)
def test_a_list_has_the_beginning_of_a_payload_as_text(
    sqlite_api: Api, payload: bytes, shown: str
) -> None:
    reject(sqlite_api, payload)
    (item,) = sqlite_api.get("/api/rejected")["data"]
    assert (item["payload"], item["payload_size"]) == (shown, len(payload))


def test_a_payload_can_be_had_byte_by_byte(api: Api) -> None:
    payloads = [
        BINARY,
        b" ",
        b"\0",
        "ü".encode() * 2_000,
        b"<script>alert(1)</script>",
        b"\xff" * 65_536,
    ]
    reject(api, *payloads, topic="unknown/topic")
    for payload, item in zip(payloads, api.get("/api/rejected")["data"][::-1], strict=True):
        whole = api.get(f"/api/rejected/{item['id']}")
        assert base64.b64decode(whole.pop("payload_base64")) == payload
        assert whole == item
        answer = api.client.get(f"/api/rejected/{item['id']}/payload")
        assert answer.data == payload
        assert answer.mimetype == "application/octet-stream"
        assert (
            answer.headers["Content-Disposition"]
            == f"attachment; filename=rejected-{item['id']}.bin"
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_payload_that_was_too_large_is_said_to_be_cut(api: Api) -> None:
    reject(api, b"y" * 100_000)
    (item,) = api.get("/api/rejected")["data"]
    assert (item["payload_size"], item["truncated"]) == (100_000, True)
    assert api.client.get(f"/api/rejected/{item['id']}/payload").data == b"y" * 4_096


@pytest.mark.parametrize("path", ["/api/rejected/{}", "/api/rejected/{}/payload"])
@pytest.mark.parametrize(
    ("number", "status"), [(1, 404), (2**63 - 1, 404), (2**63, 400), (0, 400), ("x", 404)]
)
def test_what_is_not_there_is_an_error_with_a_message(
    refusing: Api, path: str, number: Any, status: int
) -> None:
    answer = refusing.get(path.format(number), status)
    assert answer["message"]
    if status == 404 and number != "x":
        assert f"no rejected message {number}:" in answer["message"]


@pytest.mark.parametrize("path", ["/api/rejected/{}", "/api/rejected/{}/payload"])
def test_what_was_evicted_is_404(sqlite_api: Api, path: str) -> None:
    reject(sqlite_api, b"{first", b"{second", limits=RejectedLimits(messages=1))
    (item,) = sqlite_api.get("/api/rejected")["data"]
    assert sqlite_api.client.get(path.format(item["id"])).status_code == 200
    assert "it was evicted or" in sqlite_api.get(path.format(item["id"] - 1), 404)["message"]


def test_a_page_of_a_thousand_large_payloads_is_a_small_answer(api: Api) -> None:
    payloads = [b"\xff" * 65_000, b"\0" * 65_000, BINARY * 31, b'"' * 65_000]
    for _ in range(10):
        reject(api, *payloads * 25, topic="sensors/" + "\x01é" * 400)
    api.get("/api/rejected")
    tracemalloc.start()
    try:
        answer = api.client.get("/api/rejected?limit=1000")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.json is not None
    assert answer.json["count"] == 1_000
    assert len(answer.data) < 2_900_000
    assert peak < 20_000_000, "the whole payloads were read, 65 MB"


def test_it_tells_what_is_kept_what_was_evicted_and_who_holds_most(api: Api) -> None:
    reject(api, *[b"{"] * 4, topic="sensors/a/data", limits=RejectedLimits(messages=3))
    reject(api, b"{", topic="what/is/this")
    answer = api.get("/api/rejected")
    assert answer["evicted"] == 1
    assert answer["kept"]["messages"] == 4
    assert answer["kept"]["max"] == {"messages": 100_000, "bytes": 256_000_000}
    assert [
        (s["device_id"], s["topic"], s["reason"], s["messages"], s["evicted"])
        for s in answer["shares"]
    ] == [
        ("a", None, "invalid_json", 3, 1),
        (None, "what/is/this", "unknown_topic", 1, 0),
    ]
    health = api.get("/api/health")["rejected_messages"]
    assert health == answer["kept"] | {"evicted": 1}


@pytest.mark.database
@pytest.mark.parametrize(
    ("messages", "size", "full"),
    [(79, 1, None), (80, 1, "80 of 100 messages"), (1, 799_000, None), (14, 60_000, "bytes")],
)
def test_health_is_degraded_from_80_percent_and_names_what_fills_it(
    settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    messages: int,
    size: int,
    full: str | None,
) -> None:
    monkeypatch.setattr("ingest.rejected.MAX_MESSAGES", 100)
    with running(settings(rejected_max_mb=1)) as api:
        reject(api, *[b"x" * size] * messages, topic="sensors/noisy/data")
        sentence = api.get("/api/health")["message"]
    assert ("Rejected messages" in sentence) is (full is not None)
    if full is not None:
        assert full in sentence
        assert "invalid_json of 'noisy'" in sentence


@pytest.mark.database
def test_the_limit_in_bytes_is_a_setting(settings: Callable[..., Settings], tmp_path: Path) -> None:
    with running(settings(rejected_max_mb=1)) as api:
        for _ in range(5):
            # Too large for a reading, small enough to be kept whole.
            api.judge("/api/sensors/readings", [{"device_id": "a", "x": "x" * 60_000}] * 10)
        kept = api.get("/api/rejected")["kept"]
        assert kept["bytes"] <= kept["max"]["bytes"] == 1_000_000
        assert kept["messages"] == len(api.get("/api/rejected")["data"]) == 16


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ({"device_id": "a", "topic": None, "reason": "missing_field"}, "missing_field of 'a'"),
        (
            {"device_id": None, "topic": "a\nb", "reason": "unknown_topic"},
            "unknown_topic of 'a\\nb'",
        ),
        (
            {"device_id": None, "topic": None, "reason": "unknown_topic"},
            "unknown_topic of various devices",
        ),
        ({"device_id": None, "topic": None, "reason": None}, "messages rejected before an upgrade"),
    ],
)
def test_a_share_has_a_name_for_people(share: dict[str, Any], expected: str) -> None:
    assert filling._name(share) == expected


def test_an_operator_who_has_looked_may_delete_them_all_and_the_counts_stay(api: Api) -> None:
    reject(api, *[b"{"] * 5, limits=RejectedLimits(messages=3))
    reject(api, b"{", topic="what/is/this")
    runner = api.app.test_cli_runner()
    assert "Aborted" in runner.invoke(args=["forget-rejected"], input="n\n").output
    assert api.get("/api/rejected")["kept"]["messages"] == 4
    assert (
        runner.invoke(args=["forget-rejected", "--yes"]).output == "4 rejected messages deleted\n"
    )
    answer = api.get("/api/rejected")
    assert (answer["data"], answer["shares"], answer["kept"]["bytes"]) == ([], [], 0)
    assert (answer["evicted"], answer["counts"]) == (6, {"invalid_json": 5, "unknown_topic": 1})
    reject(api, b"{")
    assert api.get("/api/rejected")["kept"]["messages"] == 1


def test_the_shares_of_a_database_are_counted_without_looking_at_its_messages(
    sqlite_api: Api,
) -> None:
    reject(sqlite_api, b"{")
    database = sqlite_api.app.extensions["autoforge"].database
    with database.write() as connection, database.transaction(connection):
        connection.execute(text("DROP TABLE rejected_messages"))
    assert sqlite_api.get("/api/health")["rejected_messages"]["messages"] == 1
