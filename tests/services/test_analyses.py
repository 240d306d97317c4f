"""Analyses: the health of every committed soil reading, published; and the status of the backend."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho

from broker.notifier import ChangeSet
from services.analyses import Analyses
from tests.api import Api
from tests.live import at_broker, serving
from tests.support import (
    SOIL_VALUES,
    BackendProcess,
    Mosquitto,
    PostgresServer,
    connected_client,
    publishing,
    wait_for,
)
from utils import clock
from wiring.web import backend_of

TOPIC = "harit-samarth/sensor/data"
ANALYSIS = "harit-samarth/soil-health/analysis"
STATUS = "harit-samarth/status"


def soil(second: int, device_id: str = "sensor-publisher-01", **changes: float) -> dict[str, Any]:
    timestamp = f"2025-12-02T17:{second // 60:02}:{second % 60:02}Z"
    return {
        "timestamp": timestamp,
        "publisher_id": device_id,
        "sensor_readings": SOIL_VALUES | changes,
    }


class AnalysisSubscriber:
    """What comes on both topics."""

    def __init__(self, port: int) -> None:
        self.analyses: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.retained: list[bool] = []
        self._client = connected_client(port)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.append(True)
        self._subscribed: list[bool] = []
        self._client.subscribe([(ANALYSIS, 1), (STATUS, 1)])
        wait_for(lambda: self._subscribed, what="the subscription")

    def _on_message(self, _: paho.Client, __: object, message: paho.MQTTMessage) -> None:
        if message.topic == ANALYSIS:
            self.analyses.append(json.loads(message.payload))
        else:
            self.statuses.append(json.loads(message.payload))
            self.retained.append(message.retain)

    def seconds(self, device_id: str = "sensor-publisher-01") -> list[str]:
        """The times of the analyses of a device, each once, in the order of arrival."""
        found = [
            item["timestamp"][14:19] for item in self.analyses if item["publisher_id"] == device_id
        ]
        return list(dict.fromkeys(found))

    def await_status(self, status: str) -> dict[str, Any]:
        wait_for(
            lambda: [item["status"] for item in self.statuses][-1:] == [status],
            what=f"the status {status}",
        )
        return self.statuses[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[AnalysisSubscriber]:
    made = AnalysisSubscriber(broker.port)
    yield made
    made.close()


def test_a_reading_by_mqtt_is_analysed(
    broker: Mosquitto, backend: BackendProcess, subscriber: AnalysisSubscriber
) -> None:
    with publishing(broker.port) as publish:
        publish(TOPIC, json.dumps(soil(0, "by-mqtt")))
    wait_for(lambda: subscriber.analyses, what="the analysis")
    (analysis,) = subscriber.analyses
    (stored,) = backend.get("/api/soil-health/history?device_id=by-mqtt")[1]["data"]
    for name in ("id", "timestamp", "health_index", "status", "anomalies"):
        assert analysis[name] == stored[name]
    assert (analysis["publisher_id"], analysis["status"]) == ("by-mqtt", "Good")


def test_a_reading_by_http_is_analysed(
    backend: BackendProcess, subscriber: AnalysisSubscriber
) -> None:
    assert (
        backend.post(
            "/api/soil-health/analyze", SOIL_VALUES | {"publisher_id": "by-http", "Moisture": 12}
        )[0]
        == 200
    )
    wait_for(lambda: subscriber.analyses, what="the analysis")
    (analysis,) = subscriber.analyses
    assert [anomaly["factor"] for anomaly in analysis["anomalies"]] == ["Moisture"]


def test_each_reading_is_analysed_in_the_order_of_storing(
    broker: Mosquitto, backend: BackendProcess, subscriber: AnalysisSubscriber
) -> None:
    with publishing(broker.port, wait=False) as publish:
        for second in range(300):
            publish(TOPIC, json.dumps(soil(second, "in-order")))
    wait_for(lambda: len(subscriber.seconds("in-order")) == 300, what="all analyses")
    assert subscriber.seconds("in-order") == sorted(subscriber.seconds("in-order"))
    assert len({item["id"] for item in subscriber.analyses}) == len(subscriber.analyses)
    assert backend.get("/api/soil/stats?device_id=in-order")[1]["stats"]["count"] == 300


def test_what_is_rejected_or_repeated_is_not_analysed(
    broker: Mosquitto, backend: BackendProcess, subscriber: AnalysisSubscriber
) -> None:
    with publishing(broker.port) as publish:
        for reading in (
            soil(0, "twice"),
            soil(0, "twice"),
            soil(1, "twice", pH=float("nan")),
            soil(2, "twice"),
        ):
            publish(TOPIC, json.dumps(reading))
    wait_for(lambda: subscriber.seconds("twice") == ["00:00", "00:02"], what="both analyses")
    assert len(subscriber.analyses) == 2
    assert backend.get("/api/soil/stats?device_id=twice")[1]["stats"]["count"] == 2


@pytest.mark.process
def test_what_was_stored_while_the_broker_was_away_is_analysed_when_it_is_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        mosquitto.stop()
        for second in range(5):
            assert backend.post("/api/soil-health/analyze", soil(second))[0] == 200
        mosquitto.start()
        subscriber = AnalysisSubscriber(mosquitto.port)
        wait_for(lambda: len(subscriber.seconds()) == 5, what="all analyses")
        subscriber.await_status("healthy")
        subscriber.close()


@pytest.mark.process
def test_what_was_stored_before_a_kill_is_analysed_by_the_next_process(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    subscriber = AnalysisSubscriber(mosquitto.port)
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        backend.post("/api/soil-health/analyze", soil(0))
        wait_for(lambda: subscriber.seconds() == ["00:00"], what="the first analysis")
        with publishing(mosquitto.port, wait=False) as publish:
            for second in range(1, 500):
                publish(TOPIC, json.dumps(soil(second)))
        wait_for(lambda: len(subscriber.seconds()) > 5, what="the first analyses")
        backend.stop(signal.SIGKILL)
        told = subscriber.await_status("offline")
        assert told == {
            "status": "offline",
            "message": "AutoForge has lost the broker, or was ended by force",
            "timestamp": None,
        }
        backend.start()
        wait_for(lambda: len(subscriber.seconds()) == 500, what="all analyses")
        subscriber.await_status("healthy")
    subscriber.close()


def test_news_of_other_streams_do_not_wake_it(sqlite_api: Api) -> None:
    backend = backend_of(sqlite_api.app)
    analyses = Analyses(backend.settings, backend.database, backend.streams)
    assert not analyses.waits_for(
        ChangeSet(readings={"sensors": [clock.now()]}, commands=["c"], devices=["d"])
    )
    assert analyses.waits_for(ChangeSet(readings={"soil": [clock.now()]}))


@pytest.mark.process
def test_the_status_is_retained_and_follows_the_backend(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    subscriber = AnalysisSubscriber(mosquitto.port)
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        told = subscriber.await_status("healthy")
        assert (told["message"], set(told)) == (
            "AutoForge receives and stores readings",
            {"status", "message", "timestamp"},
        )
        late = AnalysisSubscriber(mosquitto.port)
        assert late.await_status("healthy") == told
        assert late.retained == [True]
        late.close()
    assert subscriber.await_status("offline")["message"] == "AutoForge was stopped"
    subscriber.close()


@pytest.mark.process
def test_the_status_says_that_the_database_is_away(
    tmp_path: Path, mosquitto: Mosquitto, own_postgres: PostgresServer
) -> None:
    subscriber = AnalysisSubscriber(mosquitto.port)
    with serving(at_broker(tmp_path / "backend", mosquitto, DATABASE_URL=own_postgres.url)):
        subscriber.await_status("healthy")
        own_postgres.stop()
        assert "database" in subscriber.await_status("unhealthy")["message"]
        own_postgres.start()
        subscriber.await_status("healthy")
    subscriber.close()


@pytest.mark.process
def test_of_several_processes_one_publishes(tmp_path: Path, mosquitto: Mosquitto) -> None:
    subscriber = AnalysisSubscriber(mosquitto.port)
    database = f"sqlite:///{tmp_path}/shared.db"
    with (
        serving(at_broker(tmp_path / "one", mosquitto, DATABASE_URL=database)) as one,
        serving(at_broker(tmp_path / "two", mosquitto, DATABASE_URL=database)) as two,
    ):
        wait_for(one.ready, what="a healthy backend")
        for second, backend in enumerate((one, two, one, two)):
            assert backend.post("/api/soil-health/analyze", soil(second))[0] == 200
        wait_for(lambda: len(subscriber.seconds()) == 4, what="all analyses")
        assert len(subscriber.analyses) == 4
        logs = [(tmp_path / name / "autoforge.log").read_text() for name in ("one", "two")]
        holds = ["This process now runs the jobs" in log for log in logs]
        assert sum(holds) == 1
        first, left = (one, two) if holds[0] else (two, one)
        first.stop()
        assert left.post("/api/soil-health/analyze", soil(4))[0] == 200
        wait_for(lambda: len(subscriber.seconds()) == 5, what="the analysis by the other process")
        subscriber.await_status("healthy")
    subscriber.close()
