"""FlexoTwin's paths: `/api/sensor/…`, `/api/info` and `/health`, payload for payload as its guide shows them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT, Settings
from ingest.payload import Parser
from streams.declaration import load
from tests.api import Api, running
from tests.parsing import reading, rejection
from tests.support import DEVICE_TOPICS, BackendProcess, Mosquitto, publishing, wait_for
from utils import clock

TOPIC = "flexotwin/machine/status"
READING = {
    "machine_id": "C_FL104",
    "machine_status": "Running",
    "performance_rate": 82.45,
    "quality_rate": 96.78,
    "timestamp": "2025-01-21T10:30:45.123456",
    "simulator_version": "1.0",
}
SERVED = READING | {"timestamp": "2025-01-21T10:30:45.123456Z"}


def store(api: Api, *readings: dict[str, Any]) -> None:
    assert api.post("/api/machines/readings", list(readings))["stored"] == len(readings)


def at(second: int, **changes: Any) -> dict[str, Any]:
    return READING | {"timestamp": f"2025-01-21T10:31:{second:02}"} | changes


def test_latest_is_the_reading_as_it_was_published(api: Api) -> None:
    store(api, READING)
    assert api.get("/api/sensor/latest") == {"success": True, "data": SERVED}


def test_latest_before_anything_has_arrived_says_so(api: Api) -> None:
    assert api.get("/api/sensor/latest", 404) == {
        "success": False,
        "error": "No data available",
        "message": "Sensor data has not been received yet",
    }


def test_latest_of_one_machine_leaves_out_the_others(api: Api) -> None:
    store(api, READING, at(1, machine_id="C_FL105"))
    assert api.get("/api/sensor/latest")["data"]["machine_id"] == "C_FL105"
    assert api.get("/api/sensor/latest", device_id="C_FL104")["data"] == SERVED


def test_firmware_that_counts_is_stored_and_served_too(api: Api) -> None:
    counts = {
        "cumulative_production": 1200.0,
        "cumulative_defects": 14.0,
        "interval_production": 10.0,
        "interval_defects": 1.0,
    }
    store(api, READING | counts)
    assert api.get("/api/sensor/latest")["data"] == SERVED | counts


def test_history_is_newest_first_and_has_fifty_unless_asked(api: Api) -> None:
    store(api, *(at(second) for second in range(60)))
    history = api.get("/api/sensor/history")
    assert (history["success"], history["count"], history["limit"]) == (True, 50, 50)
    assert [row["timestamp"][17:19] for row in history["data"]] == [
        f"{second:02}" for second in range(59, 9, -1)
    ]
    ten = api.get("/api/sensor/history", limit=10)
    assert (ten["count"], ten["limit"], ten["data"]) == (10, 10, history["data"][:10])


def test_history_before_anything_has_arrived_is_empty(sqlite_api: Api) -> None:
    assert sqlite_api.get("/api/sensor/history") == {
        "success": True,
        "count": 0,
        "limit": 50,
        "data": [],
    }


@pytest.mark.parametrize("limit", ["0", "10001", "ten"])
def test_a_limit_that_cannot_be_is_a_400_that_names_it(sqlite_api: Api, limit: str) -> None:
    assert sqlite_api.get("/api/sensor/history", 400, limit=limit)["message"].startswith("limit: ")


def test_status_before_anything_has_arrived_has_nulls(sqlite_api: Api) -> None:
    assert sqlite_api.get("/api/sensor/status") == {
        "success": True,
        "mqtt": {"connected": False, "broker": "127.0.0.1:1883", "topic": TOPIC},
        "sensor": {"machine_id": None, "status": None, "last_update": None},
    }


def test_status_has_the_machine_that_was_heard_last_though_another_has_a_later_time(
    api: Api,
) -> None:
    store(api, READING | {"machine_id": "ahead", "timestamp": clock.rfc3339(clock.now())})
    store(api, READING | {"machine_id": "late", "machine_status": "Stopped"})
    assert api.get("/api/sensor/status")["sensor"] == {
        "machine_id": "late",
        "status": "Stopped",
        "last_update": SERVED["timestamp"],
    }


@pytest.mark.database
@pytest.mark.parametrize(
    ("address", "told"),
    [("mqtt://[::1]:1884", "[::1]:1884"), ("[::1]", "[::1]:1883"), ("mqtts://host", "host:8883")],
)
def test_status_has_an_ipv6_broker_in_brackets(
    settings: Callable[..., Settings], address: str, told: str
) -> None:
    with running(settings(mqtt_broker=address)) as api:
        assert api.get("/api/sensor/status")["mqtt"]["broker"] == told


def test_info_lists_paths_that_exist(sqlite_api: Api) -> None:
    info = sqlite_api.get("/api/info")
    assert info["success"] is True
    known = {str(rule) for rule in sqlite_api.app.url_map.iter_rules()}
    assert set(info["endpoints"]) - {"/api/docs"} <= known
    assert "/api/docs/" in known


@pytest.mark.database
def test_info_lists_no_oee_where_none_is_declared(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "streams").mkdir()
    shipped = (PROJECT / "streams" / "machines.toml").read_text()
    (tmp_path / "streams" / "machines.toml").write_text(re.sub(r"\[oee\]\n(.+\n)+", "", shipped))
    with running(settings(streams_dir=tmp_path / "streams")) as api:
        assert "/api/machines/oee" not in api.get("/api/info")["endpoints"]
        api.get("/api/machines/oee", 404)


@pytest.mark.database
def test_machines_of_another_shape_have_no_such_paths(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "machines.toml").write_text(
        'topic = "machines/{device_id}"\n[metrics.speed]\n'
    )
    with running(settings(streams_dir=tmp_path / "streams")) as api:
        api.get("/api/sensor/latest", 404)
        assert api.get("/health")["status"] == "degraded"


def test_health_is_the_same_as_that_of_the_api(sqlite_api: Api) -> None:
    assert sqlite_api.get("/health") == sqlite_api.get("/api/health")


def test_what_a_machine_publishes_is_served(broker: Mosquitto, backend: BackendProcess) -> None:
    with publishing(broker.port) as publish:
        publish(
            TOPIC,
            '{"machine_id": "C_FL104", "machine_status": "Running", "performance_rate": 82.45, "quality_rate": 96.78, '
            '"timestamp": "2025-01-21T10:30:45.123456", "simulator_version": "1.0"}',
        )
    wait_for(lambda: backend.get("/api/sensor/latest")[0] == 200, what="the reading")
    assert backend.get("/api/sensor/latest") == (200, {"success": True, "data": SERVED})
    assert backend.get("/api/sensor/status")[1] == {
        "success": True,
        "mqtt": {"connected": True, "broker": f"127.0.0.1:{broker.port}", "topic": TOPIC},
        "sensor": {
            "machine_id": "C_FL104",
            "status": "Running",
            "last_update": "2025-01-21T10:30:45.123456Z",
        },
    }


def declared_as_documented(folder: Path) -> Parser:
    """The shipped machines on the topic with which docs/streams.md has topic and payload agree."""
    text = (PROJECT / "docs" / "streams.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^```toml\n(topic = .*?\ndevice = .*?\n)```", text, re.MULTILINE)
    shipped = (PROJECT / "streams" / "machines.toml").read_text(encoding="utf-8")
    changed = re.sub(r"^topic = .*\ndevice = .*\n", told, shipped, flags=re.MULTILINE)
    assert changed != shipped
    (folder / "machines.toml").write_text(changed, encoding="utf-8")
    return Parser(load(folder, {}, DEVICE_TOPICS))


def test_a_machine_may_not_speak_for_another_where_the_topic_names_it(tmp_path: Path) -> None:
    parser = declared_as_documented(tmp_path)
    own, silent = (
        json.dumps(READING),
        json.dumps({key: READING[key] for key in READING if key != "machine_id"}),
    )
    assert reading(parser, own, "flexotwin/C_FL104/status").device_id == "C_FL104"
    assert reading(parser, silent, "flexotwin/C_FL104/status").device_id == "C_FL104"
    reason, sentence = rejection(parser, own, "flexotwin/C_FL105/status")
    assert reason == "device_mismatch"
    assert sentence == 'machine_id: "C_FL104", but the topic says "C_FL105"'
