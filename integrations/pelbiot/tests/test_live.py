"""PELBIOT's Socket.IO events, which every client gets without asking for them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Io, Sse, at_broker, post, serving
from tests.support import BackendProcess, Mosquitto, PostgresServer, publishing, wait_for

UPDATES = {
    "mqtt-voltage-update": ("panel/trafo1/volt", 230.45),
    "mqtt-ampere-update": ("panel/trafo1/ampere", 15.32),
    "mqtt-power-update": ("panel/trafo1/power", 3542.65),
    "mqtt-cost-update": ("panel/trafo1/energy_cost", 4428312.5),
}
EVENTS = [*UPDATES, "mqtt-connected", "mqtt-error", "reading"]


@pytest.fixture
def dashboard(backend: BackendProcess) -> Iterator[Io]:
    with Io(backend.port, listens=EVENTS) as client:
        yield client


def test_each_value_arrives_under_the_event_of_its_metric(broker: Mosquitto, dashboard: Io) -> None:
    with publishing(broker.port) as publish:
        for topic, value in UPDATES.values():
            publish(topic, str(value))
    for event, (topic, value) in UPDATES.items():
        (got,) = dashboard.await_count(event, 1)
        assert (got["topic"], got["value"], set(got)) == (
            topic,
            value,
            {"topic", "value", "timestamp"},
        )
    assert dashboard.of("reading") == []


def test_the_time_is_that_of_the_device_where_it_says_one(broker: Mosquitto, dashboard: Io) -> None:
    with publishing(broker.port) as publish:
        publish("panel/trafo2/volt", '{"value": 229.9, "timestamp": "2024-01-15T10:30:45Z"}')
    assert dashboard.await_count("mqtt-voltage-update", 1) == [
        {"topic": "panel/trafo2/volt", "value": 229.9, "timestamp": "2024-01-15T10:30:45.000000Z"}
    ]


@pytest.mark.process
def test_a_value_that_is_outdated_is_not_sent_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        with Io(backend.port, listens=EVENTS) as client:
            client.await_count("mqtt-connected", 1)
            for reading in ({"voltage": 1, "ampere": 2}, {"voltage": 7}):
                assert backend.post("/api/panels/readings?device_id=trafo1", reading)[0] == 201
                wait_for(lambda: client.of("mqtt-voltage-update")[-1:], what="the voltage")
            wait_for(
                lambda: client.of("mqtt-voltage-update")[-1]["value"] == 7,
                what="the newest voltage",
            )
            mosquitto.stop(signal.SIGKILL)
            client.await_count("mqtt-error", 1)
            mosquitto.start()  # after which everything is looked at again
            client.await_count("mqtt-connected", 2)
            assert backend.post("/api/panels/readings?device_id=trafo1", {"voltage": 8})[0] == 201
            wait_for(
                lambda: client.of("mqtt-voltage-update")[-1]["value"] == 8, what="the next voltage"
            )
            assert [got["value"] for got in client.of("mqtt-voltage-update")] == [1, 7, 8]


def test_what_is_rejected_is_not_sent(broker: Mosquitto, dashboard: Io) -> None:
    with publishing(broker.port) as publish:
        publish("panel/trafo3/volt", "much")
        publish("panel/trafo3/volt", "231.5")
    assert [got["value"] for got in dashboard.await_count("mqtt-voltage-update", 1)] == [231.5]


def test_who_subscribes_to_another_stream_gets_both(
    broker: Mosquitto, backend: BackendProcess, dashboard: Io
) -> None:
    dashboard.subscribe(stream="sensors", device_id="both")
    post(backend, "both", 21.5)
    with publishing(broker.port) as publish:
        publish("panel/both/volt", "230")
    dashboard.await_temperature(21.5)
    assert dashboard.await_count("mqtt-voltage-update", 1)[0]["topic"] == "panel/both/volt"


def test_server_sent_events_have_readings_only(broker: Mosquitto, backend: BackendProcess) -> None:
    with (
        Sse(backend.port, "device_id=sse", stream="panels") as client,
        publishing(broker.port) as publish,
    ):
        publish("panel/sse/volt", "230")
        assert client.await_count("reading", 1)[0]["voltage"] == 230
        assert {got.name for got in client.events} == {"reading"}


def test_a_new_client_is_told_that_the_broker_is_connected(
    broker: Mosquitto, dashboard: Io
) -> None:
    (told,) = dashboard.await_count("mqtt-connected", 1)
    assert (told["connected"], told["broker"]) == (True, f"mqtt://127.0.0.1:{broker.port}")


@pytest.mark.process
def test_a_dashboard_that_is_opened_while_the_database_is_away_is_told_so_and_goes_on_when_it_is_back(
    tmp_path: Path, mosquitto: Mosquitto, own_postgres: PostgresServer
) -> None:
    with serving(
        at_broker(tmp_path / "backend", mosquitto, DATABASE_URL=own_postgres.url)
    ) as backend:
        wait_for(backend.ready, what="a healthy backend")
        own_postgres.stop()
        with Io(backend.port, listens=EVENTS) as late:
            assert "database" in late.await_count("mqtt-error", 1)[0]["message"]
            own_postgres.start()
            late.await_count("mqtt-connected", 1)
            with publishing(mosquitto.port) as publish:
                publish("panel/trafo1/volt", "230")
            late.await_count("mqtt-voltage-update", 1)


@pytest.mark.process
def test_every_client_is_told_when_the_broker_goes_and_when_it_is_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        with Io(backend.port, listens=EVENTS) as first:
            first.await_count("mqtt-connected", 1)
            mosquitto.stop(signal.SIGKILL)
            (gone,) = first.await_count("mqtt-error", 1)
            assert gone["connected"] is False
            assert str(mosquitto.port) in gone["message"]
            with Io(backend.port, listens=EVENTS) as second:
                second.await_count("mqtt-error", 1)
                mosquitto.start()
                first.await_count("mqtt-connected", 2)
                second.await_count("mqtt-connected", 1)
