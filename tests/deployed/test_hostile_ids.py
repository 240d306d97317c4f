"""Long ids and topics that never come twice: the memory of the backend stays flat."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults import EACH_DATABASE
from tests.live import at_broker, serving
from tests.support import BackendProcess, Mosquitto, publishing, wait_for

ROUND_BYTES = 4_000_000
MAX_GROWTH = 20_000_000
SHORT = pytest.param(20, 8, 0, id="short")
LONG = pytest.param(40, 8, 300, id="long", marks=pytest.mark.chaos)
SHORT_TOPICS = 25_000
"""More than any cache keeps; a round sends 32 of them."""


def hostile(length: int) -> str:
    """A text that nobody has seen before."""
    return os.urandom(length // 2).hex()


def submissions() -> Iterator[tuple[str, bytes]]:
    """A path and a body for each place where a client says an id, a text or a name."""
    for length in (120, 65_000):
        count = ROUND_BYTES // 4 // max(length, 1_000)
        ids = [hostile(length) for _ in range(count)]
        machines = [{"machine_id": name, "status": name, "timestamp": time.time()} for name in ids]
        sensors = [{"device_id": name, name: 1, "temperature": name} for name in ids]
        yield "/api/machines/readings", json.dumps(machines).encode()
        yield "/api/sensors/readings", json.dumps(sensors).encode()


def hostile_round(backend: BackendProcess, broker: Mosquitto) -> None:
    """Send 4 MB over HTTP, 2 MB over MQTT, and ask for some."""
    for path, body in submissions():
        status, _ = backend.post(path, body)
        assert status < 500
    for _ in range(20):
        assert backend.get(f"/api/sensors/latest?device_id={hostile(2_000)}")[0] < 500
        assert backend.get(f"/api/{hostile(2_000)}/latest")[0] == 404
    with publishing(broker.port, wait=False) as publish:
        for length in (120, 60_000):
            for _ in range(16):
                publish(f"sensors/{hostile(length)}/data", "{}")
                publish(f"status/{hostile(length)}", "online")
                publish("flexotwin/machine/status", json.dumps({"machine_id": hostile(length)}))


def fill_caches(backend: BackendProcess, broker: Mosquitto) -> None:
    with publishing(broker.port, wait=False) as publish:
        for _ in range(SHORT_TOPICS):
            publish(f"sensors/{hostile(120)}/data", "{}")
    wait_for(lambda: rejected(backend) >= SHORT_TOPICS, 60, "all of them to be rejected")


def rejected(backend: BackendProcess) -> int:
    """The messages that have been set aside since the start."""
    return int(backend.get("/api/health")[1]["mqtt"]["rejected"])


@pytest.mark.process
@EACH_DATABASE
@pytest.mark.parametrize(("warm_up", "rounds", "seconds"), [SHORT, LONG])
def test_memory_stays_flat_whatever_ids_are_sent(
    tmp_path: Path,
    mosquitto: Mosquitto,
    database_url: str,
    warm_up: int,
    rounds: int,
    seconds: float,
) -> None:
    settings = {"AUDIT_CSV": str(tmp_path / "audit.csv"), "DATABASE_URL": database_url}
    with serving(at_broker(tmp_path / "backend", mosquitto, **settings)) as backend:
        assert backend.process is not None
        process = psutil.Process(backend.process.pid)
        if seconds:
            fill_caches(backend, mosquitto)
        for _ in range(warm_up):
            hostile_round(backend, mosquitto)
        before, began, done = process.memory_info().rss, time.monotonic(), 0
        while done < rounds or time.monotonic() - began < seconds:
            hostile_round(backend, mosquitto)
            done += 1
        assert process.memory_info().rss - before < MAX_GROWTH
