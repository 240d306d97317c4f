"""The simulated devices of the shipped streams: named, paced and plausible as they are declared."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT
from simulators.backend import BackendClient
from simulators.device import SimulatedDevice, devices
from simulators.resume import resume
from streams.declaration import load
from streams.stream import Stream
from tests.live import serving
from tests.support import (
    DEVICE_TOPICS,
    Mosquitto,
    connected_client,
    free_port,
    publishing,
    wait_for,
)
from tests.support import BackendProcess as Server
from utils import clock

STREAMS = load(PROJECT / "streams", {}, DEVICE_TOPICS)
NOON = datetime(2026, 5, 4, 12)
METER = """
topic = "meter/{device_id}"
[metrics.u]
[metrics.i]
[metrics.p]
simulate = { product = ["u", "i"], factor = 0.5 }
"""
every_stream = pytest.mark.parametrize("stream", list(STREAMS), ids=lambda stream: stream.name)


def bodies(device: SimulatedDevice, count: int, seconds: float = 1) -> list[dict[str, Any]]:
    return [
        json.loads(device.next(NOON + timedelta(seconds=number * seconds)).payload)
        for number in range(count)
    ]


def simulators(port: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "simulators", *arguments],
        cwd=PROJECT,
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Names and pace


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("sensors", ["ESP32_001", "ESP32_002"]),
        ("machines", ["C_FL001", "C_FL002"]),
        ("panels", ["trafo1", "trafo2"]),
        ("soil", ["sensor-publisher-01", "sensor-publisher-02"]),
    ],
)
def test_devices_have_the_names_that_their_stream_declares(name: str, names: list[str]) -> None:
    assert [device.device_id for device in devices(STREAMS[name], 2, 1)] == names


@pytest.mark.process
def test_the_usual_rate_is_one_message_of_each_device_in_the_declared_interval(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    heard: list[tuple[str, str]] = []
    subscribed = threading.Event()
    client = connected_client(mosquitto.port)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _, __, message: heard.append(
        (message.topic, json.loads(message.payload)["timestamp"])
    )
    client.subscribe("panel/#", 1)
    assert subscribed.wait(10)
    assert (
        simulators(
            mosquitto.port, "--stream", "panels", "--devices", "2", "--count", "8"
        ).returncode
        == 0
    )
    wait_for(lambda: len(heard) == 8)
    times = [clock.parse(moment) for topic, moment in heard if topic.startswith("panel/trafo2/")]
    assert [(time - times[0]).total_seconds() for time in times] == pytest.approx(
        [0, 0.5, 1, 1.5], abs=0.001
    )
    client.disconnect()
    client.loop_stop()


# Values


def test_power_is_the_product_of_the_voltage_and_the_current_of_its_round_and_the_cost_follows() -> (
    None
):
    values = [
        body["value"] for body in bodies(SimulatedDevice(STREAMS["panels"], "trafo1", 1), 400, 0.5)
    ]
    for volts, amperes, watts, cost in zip(*[iter(values)] * 4, strict=True):
        assert watts == round(volts * amperes, 2)
        assert cost == round(watts * 1250, 2)
        assert 215 <= volts <= 245
        assert 5 <= amperes <= 25


def test_a_broken_message_does_not_break_the_products_of_its_round() -> None:
    device = SimulatedDevice(STREAMS["panels"], "trafo1", 1)
    volts, amperes = (
        json.loads(device.next(NOON, invalid=False).payload)["value"] for _ in range(2)
    )
    assert device.next(NOON, invalid=True).invalid
    cost = json.loads(device.next(NOON, invalid=False).payload)["value"]
    assert cost == round(round(volts * amperes, 2) * 1250, 2)


def test_products_work_within_one_payload_too(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text(METER)
    for body in bodies(SimulatedDevice(load(tmp_path, {}, DEVICE_TOPICS)["meter"], "a", 1), 20):
        assert body["p"] == round(body["u"] * body["i"] * 0.5, 2)


def test_a_machine_says_what_flexotwin_documents_and_its_states_last() -> None:
    said = bodies(SimulatedDevice(STREAMS["machines"], "C_FL001", 1), 2000, 5)
    documented = {
        "machine_id",
        "timestamp",
        "machine_status",
        "performance_rate",
        "quality_rate",
        "simulator_version",
    }
    assert said[0].keys() == documented
    states = [body["machine_status"] for body in said]
    assert set(states) == {"Running", "Idle", "Stopped", "Maintenance"}
    assert 40 < sum(one != other for one, other in pairwise(states)) < 130
    assert {body["simulator_version"] for body in said} == {"1.0"}
    assert all(0 <= body["quality_rate"] <= 100 for body in said)


def test_a_stream_that_describes_none_of_its_metrics_is_simulated_with_all_of_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "plain.toml").write_text('topic = "plain/{device_id}"\n[metrics.a]\n[metrics.b]\n')
    assert bodies(SimulatedDevice(load(tmp_path, {}, DEVICE_TOPICS)["plain"], "x", 1), 1)[
        0
    ].keys() == {
        "timestamp",
        "a",
        "b",
    }


# The same reading both ways


@pytest.fixture(scope="module")
def server(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(
        Server(folder, None, MQTT_BROKER="127.0.0.1", MQTT_PORT=str(broker.port))
    ) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started


@pytest.mark.process
@every_stream
def test_a_reading_that_was_published_and_is_posted_again_is_known_by_its_key(
    server: Server, broker: Mosquitto, stream: Stream
) -> None:
    device = devices(stream, 1, 7)[0]
    messages = [device.next(clock.now(), invalid=False) for _ in stream.metrics]
    with publishing(broker.port) as publish:
        for message in messages:
            publish(message.topic, message.payload)
    path = f"/api/{stream.name}/stats?device_id={device.device_id}"
    wait_for(lambda: server.get(path)[1]["stats"]["count"] == len(messages))
    for message in messages:
        answer = server.post(message.path, b"[" + message.payload + b"]")
        assert answer == (201, {"stored": 0, "duplicate": 1, "rejected": 0, "errors": []})


# Going on


def test_a_probe_goes_on_from_its_last_stored_reading_and_drifts_back_to_its_course(
    server: Server,
) -> None:
    soil = STREAMS["soil"]
    probe, new = devices(soil, 2, 3)
    last = {
        "N": 29.3,
        "P": 9.1,
        "K": 88,
        "CO2": 640,
        "Temperature": 31.25,
        "Moisture": 12.5,
        "pH": 5.123,
    }
    said = {
        "publisher_id": probe.device_id,
        "timestamp": clock.rfc3339(clock.now()),
        "sensor_readings": last,
    }
    assert server.post("/api/soil/readings", said)[1]["stored"] == 1
    notes: list[str] = []
    resume(soil, [probe, new], BackendClient(f"http://127.0.0.1:{server.port}"), notes.append)
    assert notes == ["no stored reading of sensor-publisher-02 to continue from"]
    first, *rest = [body["sensor_readings"] for body in bodies(probe, 30, 60)]
    assert first == last
    assert last["Moisture"] < rest[0]["Moisture"] < 45
    assert rest[-1]["Moisture"] == pytest.approx(50, abs=10)


def test_a_state_goes_on_too() -> None:
    for state in ("Idle", "Maintenance"):
        device = devices(STREAMS["machines"], 1, 1)[0]
        device.go_on_from(
            {"machine_status": state, "performance_rate": None, "simulator_version": "0.9"}
        )
        first = bodies(device, 1)[0]
        assert (first["machine_status"], first["simulator_version"]) == (state, "1.0")


@pytest.mark.process
def test_without_a_backend_a_probe_begins_as_usual_and_says_so_once(mosquitto: Mosquitto) -> None:
    arguments = ("--stream", "soil", "--devices", "3", "--count", "3", "--rate", "0")
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = simulators(mosquitto.port, *arguments, "--url", nowhere)
    assert (ended.returncode, ended.stdout) == (0, "published 3, acknowledged 3, invalid 0\n")
    assert ended.stderr == (
        f"cannot read the last readings from the backend at {nowhere} (Connection refused): starting without them\n"
    )


@pytest.mark.process
def test_a_stream_that_does_not_declare_it_asks_nothing(mosquitto: Mosquitto) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = simulators(
        mosquitto.port, "--stream", "machines", "--count", "3", "--rate", "0", "--url", nowhere
    )
    assert (ended.returncode, ended.stderr) == (0, "")
