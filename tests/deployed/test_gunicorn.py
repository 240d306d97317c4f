"""Under gunicorn: every message is ingested once, whichever workers live and die."""

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.processes import count, gunicorn, holder
from tests.support import Mosquitto, free_port, payload, publishing, wait_for

COMMANDS = {
    "four workers": "-w 4 -b 127.0.0.1:{port} app:app",
    "its configuration": "-c gunicorn.conf.py app:app",
}


@pytest.mark.process
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_every_message_is_ingested_once(
    tmp_path: Path, mosquitto: Mosquitto, arguments: str
) -> None:
    backend = gunicorn(tmp_path, mosquitto, arguments).start()
    wait_for(backend.ready, what="a healthy backend")
    with publishing(mosquitto.port) as publish:
        for number in range(200):
            publish("sensors/ESP32_001/data", payload(temperature=number))
    wait_for(lambda: count(backend) == 200)
    health = backend.answers()
    assert health is not None
    assert (health["mqtt"]["received"], health["mqtt"]["duplicate"]) == (200, 0)
    assert backend.stop() == 0


@pytest.mark.process
def test_another_worker_takes_over_within_five_seconds(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    backend = gunicorn(tmp_path, mosquitto, COMMANDS["four workers"]).start()
    wait_for(backend.ready, what="a healthy backend")
    first = holder(backend)
    assert first is not None
    with publishing(mosquitto.port) as publish:
        publish("sensors/ESP32_001/data", payload(temperature=1))
        wait_for(lambda: count(backend) == 1)
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        publish("sensors/ESP32_001/data", payload(temperature=2))
        wait_for(lambda: count(backend) == 2, seconds=5, what="the reading after the kill")
    assert time.monotonic() - killed < 5
    wait_for(lambda: holder(backend) not in (None, first))
    assert backend.stop() == 0


@pytest.mark.process
def test_shutting_down_loses_no_committed_batch(tmp_path: Path, mosquitto: Mosquitto) -> None:
    backend = gunicorn(tmp_path, mosquitto, COMMANDS["four workers"]).start()
    wait_for(backend.ready, what="a healthy backend")
    with publishing(mosquitto.port) as publish:
        for number in range(300):
            publish("sensors/ESP32_001/data", payload(temperature=number), qos=1)
            if number == 150:
                assert backend.stop() == 0
    again = gunicorn(tmp_path, mosquitto, COMMANDS["four workers"]).start()
    wait_for(lambda: count(again) >= 300)
    readings = again.get("/api/sensors/history?limit=1000")[1]["data"]
    assert sorted(reading["temperature"] for reading in readings) == list(range(300))
    assert again.stop() == 0


@pytest.mark.broker
@pytest.mark.process
def test_the_master_keeps_the_embedded_broker_alive_when_a_worker_dies(tmp_path: Path) -> None:
    backend = gunicorn(tmp_path, None, COMMANDS["four workers"], MQTT_PORT=str(free_port()))
    backend.start()
    wait_for(backend.ready, what="a healthy backend")
    first = holder(backend)
    assert first is not None
    with publishing(int(backend.environment["MQTT_PORT"])) as publish:
        os.kill(first, signal.SIGKILL)
        publish("sensors/ESP32_001/data", payload())
        wait_for(lambda: count(backend) == 1, seconds=10)
    assert backend.stop() == 0


@pytest.mark.process
def test_each_worker_logs_into_a_file_of_its_own(tmp_path: Path, mosquitto: Mosquitto) -> None:
    backend = gunicorn(tmp_path, mosquitto, "-w 2 -b 127.0.0.1:{port} app:app").start()
    wait_for(backend.ready, what="a healthy backend")
    assert backend.stop() == 0
    logs = "".join(file.read_text() for file in tmp_path.glob("autoforge.worker-[12].log"))
    assert logs.count("INFO - Subscribed to ") == 1


@pytest.mark.process
def test_connections_that_come_together_are_shared_by_the_workers(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    backend = gunicorn(tmp_path, mosquitto, COMMANDS["its configuration"]).start()
    wait_for(backend.ready, what="a healthy backend")
    assert backend.process is not None
    workers = psutil.Process(backend.process.pid).children()

    def shares() -> list[int]:
        """How many connections to the backend's address each worker holds."""
        held = [worker.net_connections("tcp") for worker in workers]
        here = [
            [tcp.laddr.port for tcp in of_one if tcp.status == psutil.CONN_ESTABLISHED]
            for of_one in held
        ]
        return [ports.count(backend.port) for ports in here]

    fewest = 0
    for _ in range(10):
        with ExitStack() as clients:
            together = [clients.enter_context(socket.socket()) for _ in range(16)]
            for client in together:
                client.connect(("127.0.0.1", backend.port))
            wait_for(lambda: sum(shares()) == 16, what="the connections")
            fewest += min(shares())
        wait_for(lambda: sum(shares()) == 0, what="their end")
    assert fewest > 50, "evenly shared it would be 80"
    assert backend.stop() == 0
