"""`POST /api/<stream>/readings`: readings over HTTP, through the parser that MQTT has, on every database."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import Api, noon, reading, running
from tests.support import Clock, payload, publishing, wait_for

USED_STREAMS = "sensors,panels"

READINGS = "/api/sensors/readings"
OTHER_STREAMS = {
    "soil": 'topic = "soil"\ndevice = "node"\n[metrics.moisture]\nrequired = true\n',
    "panel": 'topic = "panel/{device_id}/{metric}"\n[metrics.voltage]\nlevel = "V"\n[metrics.current]\n'
    '[metrics.state]\ntype = "text"\nsimulate = { states = ["on", "off"] }\n',
}


@pytest.fixture
def streams_dir(tmp_path: Path) -> Path:
    """Declarations: a payload with its own device id and no time, and one topic per metric."""
    folder = tmp_path / "streams"
    folder.mkdir()
    for name, text in OTHER_STREAMS.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.fixture
def others(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path
) -> Iterator[Api]:
    """The API of the other streams over an empty database of each kind in turn."""
    with running(settings(database_url=database_url, streams_dir=streams_dir)) as api:
        yield api


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Stored, duplicate and rejected, which must agree with the list of errors."""
    assert answer.keys() >= {"stored", "duplicate", "rejected", "errors"}
    assert len(answer["errors"]) == answer["rejected"]
    return answer["stored"], answer["duplicate"], answer["rejected"]


def stored(api: Api, stream: str = "sensors") -> int:
    """How many readings the database has."""
    return int(api.get(f"/api/{stream}/stats")["stats"]["count"])


# one payload or an array


def test_one_payload_is_stored(api: Api) -> None:
    assert counts(api.post(READINGS, reading("a"))) == (1, 0, 0)
    assert api.get("/api/sensors/latest")["data"]["device_id"] == "a"


def test_the_same_payload_again_is_a_duplicate_whether_alone_or_in_an_array(api: Api) -> None:
    assert counts(api.post(READINGS, reading())) == (1, 0, 0)
    assert counts(api.post(READINGS, reading())) == (0, 1, 0)
    assert counts(
        api.post(READINGS, [reading(), reading(second=1), reading(), reading(second=1)])
    ) == (1, 3, 0)
    assert stored(api) == 2


def test_different_readings_of_one_device_at_one_time_are_both_stored(api: Api) -> None:
    assert counts(api.post(READINGS, [reading(gas=1), reading(gas=2)])) == (2, 0, 0)


def test_bad_readings_are_listed_with_index_and_reason_and_their_neighbours_are_stored(
    api: Api,
) -> None:
    body = [
        reading(second=0),
        reading(second=1, gas=None),
        reading(second=2),
        reading(second=3, temperature="abc"),
        7,
        reading(second=0),
        reading(second=4, timestamp="2026-02-30T00:00:00Z"),
        reading("a/b"),
        reading(second=5),
    ]
    answer = api.judge(READINGS, body)
    assert counts(answer) == (3, 1, 5)
    assert [(item["index"], item["reason"]) for item in answer["errors"]] == [
        (1, "missing_field"),
        (3, "not_a_number"),
        (4, "not_an_object"),
        (6, "invalid_timestamp"),
        (7, "invalid_device_id"),
    ]
    sentences = [item["message"] for item in answer["errors"]]
    assert "gas" in sentences[0]
    assert "temperature" in sentences[1]
    assert '"abc"' in sentences[1]
    assert stored(api) == 3


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        pytest.param(reading(), 201, (1, 0, 0), id="stored"),
        pytest.param([reading("old"), reading("old")], 201, (1, 1, 0), id="stored and a duplicate"),
        pytest.param([reading(), reading(gas="much")], 207, (1, 0, 1), id="stored and rejected"),
        pytest.param(
            [reading("first"), reading(gas="much")], 207, (0, 1, 1), id="a duplicate and rejected"
        ),
        pytest.param(reading(gas="much"), 400, (0, 0, 1), id="one that is rejected"),
        pytest.param([reading(gas="much")], 400, (0, 0, 1), id="an array of one that is rejected"),
        pytest.param([reading(gas="much"), 7], 400, (0, 0, 2), id="all rejected"),
        pytest.param("null", 400, (0, 0, 1), id="null"),
    ],
)
def test_the_status_says_whether_everything_was_taken(
    sqlite_api: Api, body: Any, status: int, found: tuple[int, int, int]
) -> None:
    sqlite_api.submit(reading("first"))
    answer = sqlite_api.post(READINGS, body, expect=status)
    assert counts(answer) == found
    assert ("message" in answer) == (status == 400)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (reading(gas="much"), 'The reading was rejected: gas: not a number: "much"'),
        ([7, 8], "All 2 readings were rejected; the first: expected a JSON object, not 7"),
    ],
)
def test_where_nothing_was_taken_a_message_says_why(
    sqlite_api: Api, body: Any, message: str
) -> None:
    assert sqlite_api.post(READINGS, body, expect=400)["message"] == message


def test_rejected_readings_are_kept_and_counted(api: Api) -> None:
    api.judge(READINGS, [reading(), reading(gas=None), {"temperature": "é"}])
    kept = api.get("/api/rejected")
    assert kept["counts"] == {"missing_field": 1, "not_a_number": 1}
    assert {item["stream"] for item in kept["data"]} == {"sensors"}
    assert {"temperature": "é"} in [json.loads(item["payload"]) for item in kept["data"]]
    http = api.get("/api/health")["http"]
    assert {name: http[name] for name in ("received", "stored", "duplicate", "rejected")} == {
        "received": 3, "stored": 1, "duplicate": 0, "rejected": 2,
    }  # fmt: skip


def test_an_array_of_10000_is_stored_and_the_same_array_again_is_all_duplicates(api: Api) -> None:
    body = json.dumps([reading(f"d{i % 10}", i / 1000) for i in range(10_000)])
    assert counts(api.post(READINGS, body)) == (10_000, 0, 0)
    assert counts(api.post(READINGS, body)) == (0, 10_000, 0)
    assert api.get("/api/sensors/history", limit=10_000)["count"] == 10_000


def test_an_array_of_10001_is_400_and_nothing_of_it_is_stored(sqlite_api: Api) -> None:
    body = [reading(second=i / 1000) for i in range(10_001)]
    message = sqlite_api.post(READINGS, body, expect=400)["message"]
    assert "at most 10000 are allowed" in message
    assert stored(sqlite_api) == 0


def test_an_array_of_10000_bad_readings_lists_all_of_them(sqlite_api: Api) -> None:
    answer = sqlite_api.judge(READINGS, [{}] * 10_000)
    assert counts(answer) == (0, 0, 10_000)
    assert [item["index"] for item in answer["errors"]] == list(range(10_000))


def test_clients_that_post_the_same_and_other_readings_at_once_are_all_answered(api: Api) -> None:
    ready = threading.Barrier(6)

    def post(number: int) -> tuple[int, int, int]:
        own = Api(api.app)
        common = [reading("shared", second) for second in range(20)]
        ready.wait(10)
        answers = [
            counts(
                own.judge(READINGS, [*common, *[reading(f"d{number}", i) for i in range(10)], {}])
            )
            for _ in range(3)
        ]
        first, second, third = map(sum, zip(*answers, strict=True))
        return first, second, third

    with ThreadPoolExecutor(6) as pool:
        totals = [sum(column) for column in zip(*pool.map(post, range(6)), strict=True)]
    assert totals == [20 + 60, 6 * 3 * 30 - 80, 18]
    assert stored(api) == 80
    assert api.get("/api/health")["http"]["received"] == 6 * 3 * 31


# who measured it


def test_the_device_id_comes_from_the_body_or_from_the_query(sqlite_api: Api) -> None:
    assert counts(sqlite_api.post(READINGS, reading("in-body"))) == (1, 0, 0)
    assert counts(sqlite_api.post(READINGS, payload(), device_id="in-query")) == (1, 0, 0)
    assert counts(
        sqlite_api.post(READINGS, [reading("both", 1), reading("both", 2)], device_id="both")
    ) == (2, 0, 0)
    listed = sqlite_api.get("/api/sensors/devices")["devices"]
    assert [item["device_id"] for item in listed] == ["both", "in-body", "in-query"]


@pytest.mark.parametrize(
    ("device_in_body", "query", "reason"),
    [
        (None, {}, "missing_device"),
        ("a", {"device_id": "b"}, "device_mismatch"),
        (7.5, {}, "invalid_device_id"),
        (True, {}, "invalid_device_id"),
        ("", {}, "invalid_device_id"),
        ("a/b", {}, "invalid_device_id"),
        ("a+", {}, "invalid_device_id"),
        ("#", {}, "invalid_device_id"),
        ("..", {}, "invalid_device_id"),
        ("a" * 129, {}, "invalid_device_id"),
    ],
)
def test_a_reading_whose_device_is_not_known_is_rejected(
    sqlite_api: Api, device_in_body: Any, query: dict[str, Any], reason: str
) -> None:
    body = {
        key: value
        for key, value in (reading() | {"device_id": device_in_body}).items()
        if value is not None
    }
    answer = sqlite_api.judge(READINGS, body, **query)
    assert [(item["index"], item["reason"]) for item in answer["errors"]] == [(0, reason)]
    assert stored(sqlite_api) == 0


@pytest.mark.parametrize("device_id", ["a+b", "#", "a/b", "..", "", "a\0b"])
def test_a_device_id_in_the_query_that_cannot_be_one_is_400(
    sqlite_api: Api, device_id: str
) -> None:
    message = sqlite_api.post(READINGS, payload(), expect=400, device_id=device_id)["message"]
    assert message.startswith("device_id: ")
    assert stored(sqlite_api) == 0


# the same parser


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temperature": "24.5"}, None),
        ({"temperature": -0.0}, None),
        ({"temperature": 5e-324}, None),
        ({"extra": {"anything": [1, None]}}, None),
        ({"temperature": "abc"}, "not_a_number"),
        ({"temperature": "1_000"}, "not_a_number"),
        ({"temperature": True}, "not_a_number"),
        ({"temperature": []}, "not_a_number"),
        ({"temperature": "1e999"}, "number_out_of_range"),
        ({"timestamp": None}, "missing_field"),
        ({"timestamp": "noon"}, "invalid_timestamp"),
        ({"timestamp": True}, "invalid_timestamp"),
        ({"note": "\0"}, "invalid_text"),
        ({"note": "x" * 70_000}, "too_large"),
    ],
)
def test_a_reading_is_judged_as_over_mqtt(
    sqlite_api: Api, changes: dict[str, Any], reason: str | None
) -> None:
    answer = sqlite_api.judge(READINGS, reading(**changes))
    assert [item["reason"] for item in answer["errors"]] == ([reason] if reason else [])
    assert answer["stored"] == (0 if reason else 1)


def test_null_is_no_number(sqlite_api: Api) -> None:
    answer = sqlite_api.judge(READINGS, reading() | {"temperature": None})
    assert [item["reason"] for item in answer["errors"]] == ["not_a_number"]


def test_a_clock_that_is_ahead_is_not_believed_and_what_it_said_is_kept(sqlite_api: Api) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    sqlite_api.submit(reading(timestamp=ahead.isoformat()))
    found = sqlite_api.get("/api/sensors/latest")["data"]
    assert datetime.fromisoformat(found["timestamp"]) < ahead - timedelta(minutes=59)
    assert datetime.fromisoformat(found["device_timestamp"]) == ahead


def test_a_byte_order_mark_before_the_payload_is_accepted(sqlite_api: Api) -> None:
    assert counts(sqlite_api.post(READINGS, b"\xef\xbb\xbf" + json.dumps(reading()).encode())) == (
        1,
        0,
        0,
    )


def test_white_space_around_the_body_makes_no_other_reading(sqlite_api: Api) -> None:
    text = json.dumps(reading())
    assert counts(sqlite_api.post(READINGS, text)) == (1, 0, 0)
    assert counts(sqlite_api.post(READINGS, f" [\n {text} \n]\n")) == (0, 1, 0)
    assert counts(sqlite_api.post(READINGS, f"\n{text}\r\n")) == (0, 1, 0)


@pytest.mark.process
def test_what_came_by_mqtt_is_a_duplicate_over_http(
    settings: Callable[..., Settings], fast_broker: int
) -> None:
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker), start=True) as api:
        wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
        with publishing(fast_broker) as publish:
            publish("sensors/ESP32_001/data", payload())
        wait_for(lambda: stored(api), what="the reading by MQTT")
        assert counts(api.post(READINGS, payload(), device_id="ESP32_001")) == (0, 1, 0)
        assert counts(api.post(READINGS, payload(), device_id="ESP32_002")) == (1, 0, 0)


# other streams


def test_readings_without_a_time_are_each_stored_however_alike(others: Api) -> None:
    body = {"node": "n1", "moisture": 40}
    assert counts(others.post("/api/soil/readings", body)) == (1, 0, 0)
    assert counts(others.post("/api/soil/readings", body)) == (1, 0, 0)
    assert counts(others.post("/api/soil/readings", [body] * 50)) == (50, 0, 0)
    timed = body | {"timestamp": noon()}
    assert counts(others.post("/api/soil/readings", [timed, timed])) == (1, 1, 0)
    assert stored(others, "soil") == 53


def test_a_metric_with_its_own_topic_is_named_in_the_query(others: Api) -> None:
    path = "/api/panel/readings"
    device: dict[str, Any] = {"device_id": "p1"}
    assert counts(others.judge(path, 230.5, **device, metric="voltage")) == (1, 0, 0)
    assert counts(
        others.judge(path, {"value": "4.5", "timestamp": noon()}, **device, metric="current")
    ) == (1, 0, 0)
    assert counts(
        others.judge(path, ["on", {"value": "off"}, {"value": 7}], **device, metric="state")
    ) == (2, 0, 1)
    newest = others.get("/api/panel/history", device_id="p1")["data"]
    assert [(item["voltage"], item["current"], item["state"]) for item in newest] == [
        (None, None, "off"), (None, None, "on"), (230.5, None, None), (None, 4.5, None),
    ]  # fmt: skip


@pytest.mark.database
@pytest.mark.parametrize(
    ("stream", "metric"), [("panel", "V"), ("panel", "power"), ("panel", ""), ("soil", "moisture")]
)
def test_a_metric_that_cannot_be_named_is_400(
    settings: Callable[..., Settings], streams_dir: Path, stream: str, metric: str
) -> None:
    with running(settings(streams_dir=streams_dir)) as api:
        message = api.post(
            f"/api/{stream}/readings", {"value": 1}, expect=400, metric=metric, device_id="d"
        )
        assert message["message"].startswith("metric: ")


# bodies that are none


@pytest.mark.parametrize(
    "body",
    [
        "", " ", "temperature=24.5", "{", '{"a": 1,}', "[1, 2", "{} {}", "[] []", "nul", '{"a": NaN', "{'a': 1}", "nu",
        "[" * 100_000, '{"a":' * 100_000, "\ufeff", b"\xff\xfe{\x00}\x00",
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_400(sqlite_api: Api, body: str | bytes) -> None:
    assert "not JSON" in sqlite_api.post(READINGS, body, expect=400)["message"]
    assert sqlite_api.get("/api/health")["http"]["received"] == 0


def test_an_empty_array_is_400(sqlite_api: Api) -> None:
    assert "at least one reading" in sqlite_api.post(READINGS, [], expect=400)["message"]


KEYED = {"Idempotency-Key": "batch-7"}


def keyed(api: Api, body: Any, headers: dict[str, str], expect: int = 201) -> dict[str, int]:
    """The counts of a submission with these headers."""
    path = "/api/panels/readings?device_id=p1&metric=power"
    response = api.client.post(
        path, data=json.dumps(body), content_type="application/json", headers=headers
    )
    assert response.status_code == expect, response.text
    answer = json.loads(response.text)
    return {name: answer[name] for name in ("stored", "duplicate") if name in answer}


def test_readings_without_a_time_are_known_again_by_the_key_of_their_request(api: Api) -> None:
    body = [{"value": 1}, {"value": 1}]
    assert keyed(api, body, KEYED) == {"stored": 2, "duplicate": 0}
    assert keyed(api, body, KEYED) == {"stored": 0, "duplicate": 2}
    assert keyed(api, body, {"Idempotency-Key": "batch-8"}) == {"stored": 2, "duplicate": 0}
    assert keyed(api, body, {}) == {"stored": 2, "duplicate": 0}
    assert api.get("/api/panels/history?device_id=p1")["count"] == 6


def test_a_key_of_other_readings_is_422_and_stores_nothing(api: Api) -> None:
    keyed(api, {"value": 1}, KEYED)
    keyed(api, {"value": 2}, KEYED, expect=422)
    assert api.get("/api/panels/history?device_id=p1")["count"] == 1


def test_a_key_is_forgotten_after_a_day(sqlite_api: Api, hands: Clock) -> None:
    keyed(sqlite_api, {"value": 1}, KEYED)
    hands.ahead = timedelta(hours=25)
    assert keyed(sqlite_api, {"value": 1}, KEYED) == {"stored": 1, "duplicate": 0}
