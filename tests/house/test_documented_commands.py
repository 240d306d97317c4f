"""The command lines of the specifications of FlexoTwin, PELBIOT and Harit Samarth, and of our own pages on them."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.api import Api
from tests.documents import PAGES, commands, only
from tests.support import SOIL_VALUES, BackendProcess, Mosquitto, missing, publishing, wait_for

Type = Callable[[str], Any]
MACHINE = {
    "machine_id": "C_FL104",
    "machine_status": "Running",
    "performance_rate": 82.45,
    "quality_rate": 96.78,
    "timestamp": "2025-01-21T10:30:45.123456",
    "simulator_version": "1.0",
}
PANEL = {
    "panel/trafo1/volt": "230.45",
    "panel/trafo1/ampere": "15.32",
    "panel/trafo1/power": "3542.65",
    "panel/trafo1/energy_cost": "4428312.50",
}
SOIL = {
    "timestamp": "2025-12-02T17:50:00.123456",
    "publisher_id": "sensor-publisher-01",
    "sensor_readings": SOIL_VALUES,
}


OWN_DOCUMENTS = {
    "integrations/flexotwin/README.md": 4,
    "integrations/pelbiot/README.md": 5,
    "integrations/harit_samarth/README.md": 3,
    "docs/figures.md": 4,
}
"""Our own pages on them, and how many commands each prints."""


@pytest.fixture
def typed(broker: Mosquitto, backend: BackendProcess) -> Type:
    """Runs a line with this test's ports in the place of 5000 and 1883; of curl it gives the JSON."""
    for program in ("curl", "mosquitto_pub"):
        if shutil.which(program) is None:
            missing(program)

    def run(line: str) -> Any:
        line = line.replace("localhost:5000", f"127.0.0.1:{backend.port}")
        line = line.replace("-h localhost -p 1883", f"-h 127.0.0.1 -p {broker.port}")
        words = shlex.split(line)
        silent = ["-sS"] if words[0] == "curl" else []
        done = subprocess.run(
            [words[0], *silent, *words[1:]], capture_output=True, text=True, timeout=30, check=True
        )
        return json.loads(done.stdout) if words[0] == "curl" else done.stdout

    return run


@pytest.fixture(autouse=True)
def _published(broker: Mosquitto, backend: BackendProcess) -> None:
    """What the devices of the guides publish; again for every test, which changes nothing where it has a time."""
    before = received(backend)
    with publishing(broker.port) as publish:
        publish("flexotwin/machine/status", json.dumps(MACHINE))
        for topic, text in PANEL.items():
            publish(topic, text)
        publish("harit-samarth/sensor/data", json.dumps(SOIL))
    # Messages of the test before may still come; that test had all six.
    wait_for(lambda: received(backend) >= before + 6, what="all six messages")


def received(backend: BackendProcess) -> int:
    return int(backend.get("/api/health")[1]["mqtt"]["received"])


# FlexoTwin


def test_the_latest_machine(typed: Type) -> None:
    answer = typed("curl http://localhost:5000/api/sensor/latest")
    assert answer == {
        "success": True,
        "data": MACHINE | {"timestamp": "2025-01-21T10:30:45.123456Z"},
    }


def test_the_history_of_machines(typed: Type) -> None:
    answer = typed('curl "http://localhost:5000/api/sensor/history?limit=10"')
    assert (answer["success"], answer["count"], answer["limit"], len(answer["data"])) == (
        True,
        1,
        10,
        1,
    )


def test_the_status_of_machines(typed: Type, broker: Mosquitto) -> None:
    assert typed("curl http://localhost:5000/api/sensor/status") == {
        "success": True,
        "mqtt": {
            "connected": True,
            "broker": f"127.0.0.1:{broker.port}",
            "topic": "flexotwin/machine/status",
        },
        "sensor": {
            "machine_id": "C_FL104",
            "status": "Running",
            "last_update": "2025-01-21T10:30:45.123456Z",
        },
    }


def test_the_info(typed: Type) -> None:
    assert typed("curl http://localhost:5000/api/info")["success"] is True


@pytest.mark.parametrize(
    "line", ["curl http://localhost:5000/health", "curl localhost:5000/health"]
)
def test_the_health(typed: Type, line: str) -> None:
    assert typed(line)["status"] == "healthy"


# PELBIOT


def test_the_status_of_panels(typed: Type) -> None:
    status = typed("curl http://localhost:5000/api/mqtt/status")
    assert {
        "connected",
        "clientId",
        "subscriptions",
        "messageCount",
        "bufferSize",
        "lastMessage",
    } <= set(status)
    assert (status["connected"], status["bufferSize"]) == (True, 0)
    assert status["lastMessage"]["topic"] == "panel/trafo1/energy_cost"


def test_the_last_values(typed: Type) -> None:
    values = typed("curl http://localhost:5000/api/mqtt/last-values")
    assert values.pop("timestamp")
    assert values == {
        "voltage": 230.45,
        "ampere": 15.32,
        "power": 3542.65,
        "energy_cost": 4428312.50,
    }


def test_the_history_of_messages(typed: Type) -> None:
    messages = typed('curl "http://localhost:5000/api/mqtt/history?limit=5"')
    assert 4 <= len(messages) <= 5
    newest = {"topic": "panel/trafo1/energy_cost", "value": 4428312.50}
    assert messages[0] == newest | {"timestamp": messages[0]["timestamp"]}


def test_the_history_of_one_topic(typed: Type) -> None:
    messages = typed(
        'curl "http://localhost:5000/api/mqtt/history?topic=panel/trafo1/ampere&limit=10"'
    )
    assert {(message["topic"], message["value"]) for message in messages} == {
        ("panel/trafo1/ampere", 15.32)
    }


def test_the_last_value_of_a_topic(typed: Type) -> None:
    assert (
        typed("curl http://localhost:5000/api/mqtt/last-value/panel/trafo1/volt")["value"] == 230.45
    )


def test_publishing_to_a_topic(typed: Type) -> None:
    line = (
        "curl -X POST http://localhost:5000/api/mqtt/publish -H 'Content-Type: application/json' "
        """-d '{ "topic": "panel/trafo1/volt", "message": 230.5 }'"""
    )
    assert typed(line) == {"success": True, "topic": "panel/trafo1/volt", "message": 230.5}
    newest = "curl http://localhost:5000/api/mqtt/last-value/panel/trafo1/volt"
    wait_for(lambda: typed(newest)["value"] == 230.5, what="what was published")


def test_the_topics(typed: Type) -> None:
    expected = ["panel/+/volt", "panel/+/ampere", "panel/+/power", "panel/+/energy_cost"]
    assert typed("curl http://localhost:5000/api/mqtt/topics") == expected


# Harit Samarth


def test_a_published_test_message_of_a_probe_without_a_name(typed: Type) -> None:
    typed(
        'mosquitto_pub -h localhost -p 1883 -t "harit-samarth/sensor/data" '
        """-m '{"timestamp":"2025-12-02T17:00:00","sensor_readings":"""
        """{"N":22,"P":18,"K":150,"CO2":500,"Temperature":22,"Moisture":55,"pH":7.2}}'"""
    )
    history = "curl 'http://localhost:5000/api/soil-health/history?limit=100'"
    wait_for(
        lambda: (
            "2025-12-02T17:00:00.000000Z" in [row["timestamp"] for row in typed(history)["data"]]
        ),
        what="the reading",
    )
    (row,) = [
        row for row in typed(history)["data"] if row["timestamp"] == "2025-12-02T17:00:00.000000Z"
    ]
    assert (row["device_id"], row["N"], row["pH"]) == ("sensor-publisher-01", 22.0, 7.2)


def test_the_history_of_soil_has_the_example_reading_as_good(typed: Type) -> None:
    rows = typed("curl 'http://localhost:5000/api/soil-health/history?limit=100'")["data"]
    (row,) = [row for row in rows if row["timestamp"] == "2025-12-02T17:50:00.123456Z"]
    assert {name: row[name] for name in SOIL["sensor_readings"]} == SOIL["sensor_readings"]
    assert (row["status"], row["anomalies"]) == ("Good", [])
    assert 60 <= row["health_index"] < 75


def test_analysing_the_bare_values(typed: Type) -> None:
    values = json.dumps(SOIL["sensor_readings"])
    answer = typed(
        f"curl -X POST http://localhost:5000/api/soil-health/analyze -H 'Content-Type: application/json' -d '{values}'"
    )
    assert (answer["status"], answer["anomalies"], answer["stored"]) == ("Good", [], True)


def test_the_optimal_ranges(typed: Type) -> None:
    ranges = typed("curl http://localhost:5000/api/soil-health/optimal-ranges")["ranges"]
    assert {name: (band["min"], band["max"]) for name, band in ranges.items()} == {
        "N": (15, 30),
        "P": (10, 25),
        "K": (100, 200),
        "CO2": (400, 600),
        "Temperature": (15, 25),
        "Moisture": (40, 60),
        "pH": (6.5, 7.5),
    }


# AutoForge's own


@pytest.mark.parametrize("page", OWN_DOCUMENTS)
def test_every_line_of_our_own_documents_works(typed: Type, page: str) -> None:
    lines = commands(page)
    assert len(lines) == OWN_DOCUMENTS[page]
    for line in lines:
        answer = typed(line.replace("mosquitto_pub", "mosquitto_pub -h localhost -p 1883"))
        failed = isinstance(answer, dict) and "message" in answer and not answer.get("success")
        assert not failed, (line, answer)


@pytest.mark.parametrize("page", OWN_DOCUMENTS)
def test_every_path_of_our_own_documents_exists(page: str, sqlite_api: Api) -> None:
    rules = {
        re.sub(r"<\w+:(\w+)>", r"<\1>", rule.rule) for rule in sqlite_api.app.url_map.iter_rules()
    }
    for path in set(re.findall(r"`(?:GET|POST) (/[a-z/<>-]+)`", PAGES[page])):
        assert path in rules, path


def test_the_answer_of_an_analysis_is_as_our_own_document_shows_it(typed: Type) -> None:
    (line,) = [line for line in commands("docs/figures.md", "curl") if "/analyze" in line]
    shown, answer = json.loads(only("docs/figures.md", "json")), typed(line)
    assert list(answer) == list(shown)
    assert answer["factors"][0] == shown["factors"][0]
    varying = {name: answer[name] for name in ("factors", "timestamp")}
    assert answer == shown | varying
