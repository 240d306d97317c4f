"""PELBIOT's paths, `/api/mqtt/…`, payload for payload as its report shows them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from integrations.pelbiot.tests.panels import NONE, at, store
from tests.api import Api, running
from tests.support import BackendProcess, Mosquitto, free_port, publishing, wait_for

FILTERS = ["panel/+/volt", "panel/+/ampere", "panel/+/power", "panel/+/energy_cost"]
VALUES = {"voltage": 230.45, "ampere": 15.32, "power": 3542.65, "energy_cost": 4428312.5}


@pytest.fixture
def filled(api: Api) -> Api:
    for second, (metric, value) in enumerate(VALUES.items(), 40):
        store(api, metric, value, second)
    return api


def test_last_values_are_the_newest_of_each_metric(filled: Api) -> None:
    assert filled.get("/api/mqtt/last-values") == VALUES | {
        "timestamp": "2024-01-15T10:30:43.000000Z"
    }


def test_what_never_came_is_null_and_not_0(sqlite_api: Api) -> None:
    assert sqlite_api.get("/api/mqtt/last-values") == NONE
    store(sqlite_api, "voltage", 0, 45)
    assert sqlite_api.get("/api/mqtt/last-values") == NONE | {"voltage": 0.0, "timestamp": at(45)}


def test_last_values_of_one_panel_leave_out_the_others(api: Api) -> None:
    store(api, "voltage", 230, 45)
    store(api, "voltage", 231, 46, "trafo2")
    assert api.get("/api/mqtt/last-values")["voltage"] == 231
    assert api.get("/api/mqtt/last-values", device_id="trafo1") == NONE | {
        "voltage": 230.0,
        "timestamp": at(45),
    }


def test_the_last_message_is_of_the_panel_that_was_heard_last(api: Api) -> None:
    store(api, "voltage", 230, 50)
    store(api, "voltage", 231, 45, "late")
    store(api, "ampere", 7, 40, "late")
    last = {"topic": "panel/late/volt", "value": 231.0, "timestamp": at(45)}
    assert api.get("/api/mqtt/status")["lastMessage"] == last


def test_history_is_a_list_of_messages_newest_first(filled: Api) -> None:
    store(filled, "ampere", 16, 50)
    assert filled.get("/api/mqtt/history", limit=3) == [
        {"topic": "panel/trafo1/ampere", "value": 16.0, "timestamp": at(50)},
        {"topic": "panel/trafo1/energy_cost", "value": 4428312.5, "timestamp": at(43)},
        {"topic": "panel/trafo1/power", "value": 3542.65, "timestamp": at(42)},
    ]


def test_history_of_a_topic_has_only_its_messages(filled: Api) -> None:
    store(filled, "ampere", 16, 50)
    store(filled, "ampere", 17, 51, "trafo2")
    assert filled.get("/api/mqtt/history?topic=panel/trafo1/ampere&limit=10") == [
        {"topic": "panel/trafo1/ampere", "value": 16.0, "timestamp": at(50)},
        {"topic": "panel/trafo1/ampere", "value": 15.32, "timestamp": at(41)},
    ]


def test_history_has_a_hundred_unless_asked(sqlite_api: Api) -> None:
    body = [{"value": number, "timestamp": 1705314600 + number} for number in range(120)]
    assert (
        sqlite_api.post("/api/panels/readings", body, device_id="trafo1", metric="power")["stored"]
        == 120
    )
    assert [message["value"] for message in sqlite_api.get("/api/mqtt/history")] == list(
        range(119, 19, -1)
    )


def test_a_reading_of_several_metrics_is_a_message_for_each(api: Api) -> None:
    reading = {"voltage": 230, "ampere": 15, "timestamp": at(45)}
    assert api.post("/api/panels/readings", reading, device_id="trafo1")["stored"] == 1
    assert [message["topic"] for message in api.get("/api/mqtt/history")] == [
        "panel/trafo1/volt",
        "panel/trafo1/ampere",
    ]
    assert len(api.get("/api/mqtt/history", limit=1)) == 1


def test_history_before_anything_has_arrived_is_an_empty_list(sqlite_api: Api) -> None:
    assert sqlite_api.get("/api/mqtt/history") == []
    assert sqlite_api.get("/api/mqtt/history", topic="panel/trafo1/volt") == []


def test_the_last_value_of_a_topic_with_slashes(filled: Api) -> None:
    expected = {"topic": "panel/trafo1/volt", "value": 230.45, "timestamp": at(40)}
    assert filled.get("/api/mqtt/last-value/panel/trafo1/volt") == expected
    assert filled.get("/api/mqtt/last-value/panel%2Ftrafo1%2Fvolt") == expected


def test_the_last_value_of_a_topic_without_messages_is_null(sqlite_api: Api) -> None:
    expected = {"topic": "panel/trafo9/volt", "value": None, "timestamp": None}
    assert sqlite_api.get("/api/mqtt/last-value/panel/trafo9/volt") == expected


@pytest.mark.parametrize(
    "path", ["/api/mqtt/last-value/panel/trafo1/heat", "/api/mqtt/history?topic=sensors/a/data"]
)
def test_a_topic_of_no_panel_is_not_found_and_told_which_there_are(
    sqlite_api: Api, path: str
) -> None:
    message = sqlite_api.get(path, 404)["message"]
    assert message.startswith("topic: ")
    assert message.endswith(f"those are {', '.join(FILTERS)}")


@pytest.mark.parametrize(
    "topic", ["panel/+/volt", "panel/#", "panel/a\x00/volt", "panel/\u200b/volt", ""]
)
def test_a_topic_that_cannot_be_is_a_400_that_names_it(sqlite_api: Api, topic: str) -> None:
    assert sqlite_api.get("/api/mqtt/history", 400, topic=topic)["message"].startswith("topic: ")
    assert sqlite_api.post("/api/mqtt/publish", {"topic": topic, "message": 1}, 400)[
        "message"
    ].startswith("topic: ")


def test_topics_are_those_that_are_subscribed_to(sqlite_api: Api) -> None:
    assert sqlite_api.get("/api/mqtt/topics") == FILTERS


def test_status_before_anything_has_arrived(sqlite_api: Api) -> None:
    status = sqlite_api.get("/api/mqtt/status")
    assert (status["connected"], status["subscriptions"], status["messageCount"]) == (
        False,
        FILTERS,
        0,
    )
    assert (status["bufferSize"], status["errors"], status["uptime"]) == (0, 0, None)
    assert (status["lastMessage"], status["error"]) == (None, "no process ingests")
    assert status["clientId"] == "autoforge", "the real one is told nowhere"


def test_publishing_elsewhere_than_below_declared_topics_is_refused(sqlite_api: Api) -> None:
    for topic in ("control/trafo1/command", "panel/trafo1/heat", "autoforge/x/notices"):
        message = sqlite_api.post("/api/mqtt/publish", {"topic": topic, "message": 1}, 400)[
            "message"
        ]
        assert message.startswith(f"topic: {topic} belongs to no declared stream; allowed are: ")
        assert "panel/{device_id}/{metric}" in message
    message = sqlite_api.post("/api/mqtt/publish", {"topic": "panel//volt", "message": 1}, 400)[
        "message"
    ]
    assert message == "topic: the device id is empty"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("[]", id="not an object"),
        pytest.param('{"topic": "panel/trafo1/volt"}', id="no message"),
        pytest.param('{"message": 1}', id="no topic"),
        pytest.param('{"topic": "panel/trafo1/volt", "message": NaN}', id="NaN"),
        pytest.param('{"topic": "panel/trafo1/volt", "message": "\\ud800"}', id="half a character"),
        pytest.param('{"topic": "panel/trafo1/volt", "message": 1e-400}', id="a number too small"),
        pytest.param(
            '{"topic": "panel/trafo1/volt", "message": {"value": 9007199254740993.0}}',
            id="a number that no float holds",
        ),
        pytest.param(
            '{"topic": "panel/trafo1/volt", "message": 1, "retain": true}', id="an unknown field"
        ),
        pytest.param(
            json.dumps({"topic": "panel/trafo1/volt", "message": "x" * 70_000}), id="too large"
        ),
        pytest.param(
            '{"topic": "panel/trafo1/volt", "message": ' + "[" * 40 + "]" * 40 + "}", id="too deep"
        ),
    ],
)
def test_a_message_that_cannot_be_published_is_a_400(sqlite_api: Api, body: str) -> None:
    assert sqlite_api.post("/api/mqtt/publish", body, 400)["message"]


@pytest.mark.broker
@pytest.mark.database
def test_publishing_while_the_broker_is_away_is_a_503(settings: Callable[..., Settings]) -> None:
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=free_port())) as api:
        answer = api.post(
            "/api/mqtt/publish", {"topic": "panel/trafo1/volt", "message": 230.5}, 503
        )
        assert answer["message"].startswith("mqtt://127.0.0.1:")
        assert answer["message"].endswith("Nothing was published, try again")


@pytest.mark.database
def test_panels_whose_topic_names_no_device_have_last_values_too(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "streams").mkdir()
    text = 'topic = "meter/{metric}"\ndevice = "panel"\n[metrics.power]\n'
    (tmp_path / "streams" / "panels.toml").write_text(text)
    with running(settings(streams_dir=tmp_path / "streams")) as api:
        for panel, value in (("a", 1), ("b", 2)):
            assert (
                api.post("/api/panels/readings", {"panel": panel, "value": value}, metric="power")[
                    "stored"
                ]
                == 1
            )
        assert api.get("/api/mqtt/last-value/meter/power")["value"] == 2
        assert [
            message["value"] for message in api.get("/api/mqtt/history", topic="meter/power")
        ] == [2, 1]
        assert [
            m["value"] for m in api.get("/api/mqtt/history", topic="meter/power", device_id="a")
        ] == [1]


def test_what_is_published_arrives_and_is_counted(
    broker: Mosquitto, backend: BackendProcess
) -> None:
    def newest() -> dict[str, Any]:
        values: dict[str, Any] = backend.get("/api/mqtt/last-values")[1]
        return {
            name: value
            for name, value in values.items()
            if name != "timestamp" and value is not None
        }

    body = {"topic": "panel/trafo1/volt", "message": 230.5}
    assert backend.post("/api/mqtt/publish", body) == (200, {"success": True, **body})
    with publishing(broker.port) as publish:
        publish("panel/trafo1/ampere", "15.32")
        publish("panel/trafo1/power", '{"value": 3542.65}')
        publish("panel/trafo1/energy_cost", "4428312.50")
        publish("panel/trafo1/power", "much")
    expected = {"voltage": 230.5, "ampere": 15.32, "power": 3542.65, "energy_cost": 4428312.5}
    wait_for(lambda: newest() == expected, what="the values")
    wait_for(
        lambda: backend.get("/api/mqtt/status")[1]["errors"] == 1,
        what="the count of the bad message",
    )
    wait_for(
        lambda: backend.get("/api/mqtt/status")[1]["messagesPerSecond"], what="the next heartbeat"
    )
    status = backend.get("/api/mqtt/status")[1]
    assert (status["connected"], status["messageCount"], status["bufferSize"]) == (True, 5, 0)
    assert status["uptime"] > 0
    assert status["processingTime"] > 0
    assert status["lastMessage"] == backend.get("/api/mqtt/last-value/panel/trafo1/energy_cost")[1]


def test_rows_are_wide_with_only_that_metric_set(sqlite_api: Api) -> None:
    store(sqlite_api, "power", 3542.65, 45)
    row = sqlite_api.get("/api/panels/latest")["data"]
    assert {name: row[name] for name in VALUES} == dict.fromkeys(VALUES) | {"power": 3542.65}
