"""`/api/health` and `/api/streams`: the backend about itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from iotcore import Broker
from sqlalchemy import delete

from config import Settings
from models import IngestStatus
from tests.api import Api, reading, running
from tests.support import free_port, payload, publishing, wait_for

USED_STREAMS = ""

COUNTS = {"received", "stored", "duplicate", "rejected", "last_batch_at"}


def in_state(api: Api, status: str) -> Callable[[], Any]:
    """Whether the health has the status; it is 200 in any case."""

    def health() -> Any:
        answer = api.get("/api/health")
        return answer if answer["status"] == status else None

    return health


def moment(text: str) -> datetime:
    """An RFC 3339 time of an answer."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


# health


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.process
def test_health_follows_the_broker_as_it_goes_and_comes_back(
    settings: Callable[..., Settings],
) -> None:
    port = free_port()
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=port), start=True) as api:
        with Broker(port=port, listen="127.0.0.1"):
            wait_for(in_state(api, "healthy"), what="healthy")
            stopped_after = datetime.now(UTC)
        degraded = wait_for(in_state(api, "degraded"), what="degraded")
        assert f"mqtt://127.0.0.1:{port}" in degraded["message"]
        assert degraded["mqtt"]["problem"]
        assert (degraded["mqtt"]["connected"], degraded["mqtt"]["subscribed"]) == (False, False)
        since = moment(degraded["mqtt"]["since"])
        assert stopped_after - timedelta(seconds=1) < since <= datetime.now(UTC)
        with Broker(port=port, listen="127.0.0.1"):
            connected = wait_for(
                lambda: (found := api.get("/api/health"))["mqtt"]["subscribed"] and found,
                what="the subscription",
            )
            assert moment(connected["mqtt"]["since"]) > since
            assert connected["mqtt"]["problem"] is None
            assert "lost AutoForge's session at" in connected["message"], (
                "this broker keeps nothing"
            )


@pytest.mark.process
def test_health_has_the_documented_keys_and_what_decides_it(
    settings: Callable[..., Settings], database_url: str, fast_broker: int
) -> None:
    values = {
        "mqtt_broker": "127.0.0.1",
        "mqtt_port": fast_broker,
        "database_url": database_url,
    }
    with running(settings(**values), start=True) as api:
        healthy = wait_for(in_state(api, "healthy"), what="healthy")
        documented = {"status": "healthy", "service": "AutoForge IoT Backend", "version": "1.0.0"}
        assert {key: healthy[key] for key in documented} == documented
        assert healthy["message"] is None
        assert healthy["database"]["reachable"] is True
        mqtt = healthy["mqtt"]
        assert (mqtt["running"], mqtt["connected"], mqtt["subscribed"]) == (True, True, True)
        assert mqtt["holder"]
        assert datetime.now(UTC) - moment(mqtt["heartbeat_at"]) < timedelta(seconds=10)
        assert {key: mqtt[key] for key in COUNTS} == dict.fromkeys(
            COUNTS - {"last_batch_at"}, 0
        ) | {"last_batch_at": None}
        with publishing(fast_broker) as publish:
            publish("sensors/ESP32_001/data", payload())
            publish("sensors/ESP32_001/data", payload())
            publish("sensors/ESP32_001/data", payload(gas=None))
        mqtt = wait_for(
            lambda: (found := api.get("/api/health")["mqtt"])["received"] == 3 and found,
            what="3 messages",
        )
        assert (mqtt["stored"], mqtt["duplicate"], mqtt["rejected"]) == (1, 1, 1)
        assert datetime.now(UTC) - moment(mqtt["last_batch_at"]) < timedelta(seconds=10)


def test_health_counts_what_came_over_http_by_itself(api: Api) -> None:
    api.judge("/api/sensors/readings", [reading(), reading(), {}])
    health = api.get("/api/health")
    assert {key: health["http"][key] for key in COUNTS - {"last_batch_at"}} == {
        "received": 3, "stored": 1, "duplicate": 1, "rejected": 1,
    }  # fmt: skip
    assert datetime.now(UTC) - moment(health["http"]["last_batch_at"]) < timedelta(seconds=10)
    assert health["mqtt"]["received"] == 0


def test_health_is_degraded_while_no_process_ingests(sqlite_api: Api) -> None:
    health = sqlite_api.get("/api/health")
    assert health["status"] == "degraded"
    assert "no process ingests" in health["message"]


@pytest.mark.process
def test_health_says_since_when_nobody_ingests(
    settings: Callable[..., Settings], fast_broker: int
) -> None:
    values = settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker)
    with running(values) as reader:
        with running(values, start=True):
            wait_for(in_state(reader, "healthy"), what="healthy")
            stopped_after = datetime.now(UTC)
        health = reader.get("/api/health")
        assert (health["status"], health["mqtt"]["running"]) == ("degraded", False)
        assert stopped_after <= moment(health["mqtt"]["since"]) <= datetime.now(UTC)


@pytest.mark.broker
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql"])
def test_health_is_503_without_the_database_and_tells_no_password(
    settings: Callable[..., Settings], scheme: str
) -> None:
    port = free_port()
    with running(
        settings(database_url=f"{scheme}://user:s3cret@127.0.0.1:{port}/autoforge"), prepare=False
    ) as without_database:
        health = without_database.get("/api/health", expect=503)
    assert (health["status"], health["service"], health["version"]) == (
        "unhealthy",
        "AutoForge IoT Backend",
        "1.0.0",
    )
    assert health["database"]["reachable"] is False
    assert "127.0.0.1" in health["message"]
    assert str(port) in health["database"]["url"]
    assert "s3cret" not in str(health)


@pytest.mark.database
def test_health_tells_no_password_of_the_broker(settings: Callable[..., Settings]) -> None:
    with running(settings(mqtt_broker="mqtt://user:s3cret@127.0.0.1:1")) as api:
        health = api.get("/api/health")
        assert health["mqtt"]["broker"] == "mqtt://127.0.0.1:1"
        assert "s3cret" not in str(health)


# streams


def test_streams_lists_the_declarations(sqlite_api: Api) -> None:
    answer = sqlite_api.get("/api/streams")
    assert answer["count"] == len(answer["streams"])
    sensors = next(stream for stream in answer["streams"] if stream["name"] == "sensors")
    metrics = sensors.pop("metrics")
    assert sensors == {
        "name": "sensors",
        "title": "ESP32 machine sensors",
        "topic": "sensors/{device_id}/data",
        "topics": ["sensors/{device_id}/data"],
        "device": "device_id",
        "timestamp_required": True,
        "url": "/api/sensors",
    }
    assert [(metric["name"], metric["plural"]) for metric in metrics] == [
        ("temperature", "temperatures"), ("vibration", "vibrations"), ("gas", "gases"), ("power", "powers"),
    ]  # fmt: skip
    assert metrics[0] == {
        "name": "temperature", "title": "temperature", "unit": "°C", "type": "number", "required": True,
        "plural": "temperatures",
    }  # fmt: skip


@pytest.mark.database
def test_streams_shows_the_topic_that_is_in_force(settings: Callable[..., Settings]) -> None:
    with running(settings(sensor_topic="plant/+/esp32")) as api:
        topics = {stream["name"]: stream["topic"] for stream in api.get("/api/streams")["streams"]}
        assert topics["sensors"] == "plant/{device_id}/esp32"


@pytest.mark.parametrize("path", ["/api/health", "/api/sensor/status", "/api/mqtt/status"])
def test_tables_that_are_still_being_made_are_a_503(sqlite_api: Api, path: str) -> None:
    database = sqlite_api.app.extensions["autoforge"].database
    with database.write() as connection, database.transaction(connection):
        connection.execute(delete(IngestStatus))
    assert "its tables are being created" in sqlite_api.get(path, 503)["message"]
