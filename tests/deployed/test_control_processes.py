"""Commands between two gunicorn workers, an ingest process and a broker, when any of them is killed."""

import contextlib
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.devices import DeviceClient
from tests.processes import gunicorn, holder
from tests.support import BackendProcess, Mosquitto, payload, wait_for

pytestmark = pytest.mark.process

COMMAND = {"device_id": "ESP32_001", "command": "restart"}
FINAL = ("succeeded", "failed", "rejected", "expired")


class ControlProcesses:
    """What runs: `web` answers requests, `ingest` ingests while it lives."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder / "mosquitto")
        self.broker.start()
        self.database = folder / "test.db"
        self.web = gunicorn(folder, self.broker, "-w 2 -b 127.0.0.1:{port} app:app")
        self.ingest = BackendProcess(
            folder,
            [sys.executable, "-m", "ingest"],
            **{
                key: self.web.environment[key]
                for key in ("DATABASE_URL", "MQTT_BROKER", "MQTT_PORT")
            },
        )

    def start_ingest(self) -> None:
        """Start the ingest process; wait until it ingests."""
        self.ingest.start(wait=False)
        process = self.ingest.process
        assert process is not None
        wait_for(
            lambda: process.pid == self.holder(), what=f"the ingest; see {self.ingest.console}"
        )

    def holder(self) -> int | None:
        """Which process ingests; the database says it, whether or not the web answers."""
        with contextlib.suppress(sqlite3.OperationalError):
            rows = self.ask("SELECT holder FROM ingest_status WHERE source = 'mqtt' AND subscribed")
            return int(rows[0][0].rpartition(":")[2]) if rows and rows[0][0] else None
        return None

    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        master = self.web.process
        assert master is not None
        text = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def ask(self, statement: str) -> list[Any]:
        """What the database says, past all of AutoForge."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            return connection.execute(statement).fetchall()

    def status(self, command_id: str) -> str:
        return str(self.ask(f"SELECT status FROM commands WHERE command_id = '{command_id}'")[0][0])

    def send(self, path: str = "/api/control", **changes: Any) -> Any:
        status, answer = self.web.post(path, COMMAND | changes)
        assert status in (200, 202), answer
        return answer

    def close(self) -> None:
        for backend in (self.web, self.ingest):
            if backend.process is not None and backend.process.poll() is None:
                assert backend.stop() == 0
        self.broker.stop()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcesses]:
    """A plant in which the ingest process ingests and both workers answer."""
    made = ControlProcesses(tmp_path_factory.mktemp("plant"))
    try:
        made.start_ingest()
        made.web.start()
        wait_for(made.web.ready, what=f"a healthy backend; see {made.web.console}")
        yield made
    finally:
        made.close()


def obedient(plant: ControlProcesses) -> DeviceClient:
    """A device that executes every command. While it is connected, no command expires."""
    return DeviceClient(plant.broker.port, answers=("in_progress", "succeeded"))


@pytest.fixture
def device(plant: ControlProcesses) -> Iterator[DeviceClient]:
    """A device that says nothing by itself."""
    made = DeviceClient(plant.broker.port)
    yield made
    made.close()


@pytest.mark.database
def test_whichever_worker_waits_hears_what_the_ingest_process_has_stored(
    plant: ControlProcesses,
) -> None:
    assert plant.holder() == (plant.ingest.process and plant.ingest.process.pid)
    seconds = []
    with contextlib.closing(obedient(plant)):
        for _ in range(20):
            begun = time.monotonic()
            assert plant.send("/api/control?wait=10")["status"] == "succeeded"
            seconds.append(time.monotonic() - begun)
    # A worker that hears no news looks again after a second.
    assert sorted(seconds)[-3] < 0.9


def test_requests_that_are_held_hold_up_no_other(
    plant: ControlProcesses, device: DeviceClient
) -> None:
    with ThreadPoolExecutor(40) as pool:
        url = plant.send()["url"]
        held = [pool.submit(plant.web.get, f"{url}?wait=10") for _ in range(40)]
        wait_for(lambda: sum(request.running() for request in held) == 40)
        for _ in range(20):
            begun = time.monotonic()
            assert plant.web.get("/api/health")[0] == 200
            assert time.monotonic() - begun < 1
        device.acknowledge(device.next_command()["command_id"], "succeeded")
        assert {request.result()[1]["status"] for request in held} == {"succeeded"}


def test_one_key_at_both_workers_at_once_publishes_once(
    plant: ControlProcesses, device: DeviceClient
) -> None:
    def send(key: str) -> tuple[int, Any]:
        return plant.web.post("/api/control", COMMAND | {"command": key}, Idempotency_Key=key)

    keys = [f"key-{number % 5}" for number in range(60)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, keys))
    assert {status for status, _ in answers} == {202}
    given = {(answer["command"], answer["command_id"]) for _, answer in answers}
    assert len(given) == 5
    plant.send(command="last")
    published = [device.next_command() for _ in range(6)]
    assert {(sent["command"], sent["command_id"]) for sent in published[:5]} == given
    assert published[5]["command"] == "last"


def test_ten_thousand_repeated_acknowledgements_change_nothing_and_hold_up_nothing(
    plant: ControlProcesses, device: DeviceClient
) -> None:
    before = plant.web.get("/api/health")[1]["mqtt"]
    command_id = plant.send()["command_id"]
    other = plant.send(command="other")["command_id"]
    for _ in range(10_000):
        device.acknowledge(command_id, "succeeded")
    device.publish("sensors/ESP32_001/data", payload())
    device.acknowledge(other, "failed")
    answer = plant.web.get(f"/api/control/{other}?wait=20")[1]
    assert (answer["status"], plant.status(command_id)) == ("failed", "succeeded")
    after = plant.web.get("/api/health")[1]["mqtt"]
    counted = {
        key: after[key] - before[key] for key in ("received", "stored", "duplicate", "rejected")
    }
    assert counted == {"received": 10_002, "stored": 3, "duplicate": 9_999, "rejected": 0}
    assert device.next_command()["command_id"] == command_id


@pytest.mark.database
def test_a_thousand_devices_at_once_all_succeed(plant: ControlProcesses) -> None:
    names = [f"board{number:04}" for number in range(1000)]
    with contextlib.closing(obedient(plant)) as fleet:
        with ThreadPoolExecutor(32) as pool:
            ids = list(pool.map(lambda name: plant.send(device_id=name)["command_id"], names))
        chosen = ", ".join(f"'{command_id}'" for command_id in ids)
        count = (
            f"SELECT status, count(*) FROM commands WHERE command_id IN ({chosen}) GROUP BY status"
        )
        wait_for(
            lambda: plant.ask(count) == [("succeeded", 1000)],
            what="a thousand commands that succeeded",
        )
        published = Counter(fleet.next().topic for _ in names)
        assert published == Counter(f"control/{name}/command" for name in names)
        assert fleet.messages.empty()


def test_a_worker_killed_while_it_waits_leaves_no_command_stuck(
    plant: ControlProcesses, device: DeviceClient
) -> None:
    with ThreadPoolExecutor(2) as pool:
        held = [
            pool.submit(plant.web.post, "/api/control?wait=10", COMMAND | {"expires_in": 3})
            for _ in range(2)
        ]
        done, silent = (device.next_command()["command_id"] for _ in held)
        killed = plant.workers()
        assert len(killed) == 2
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        device.acknowledge(done, "succeeded")
        for request in held:
            with pytest.raises(OSError, match=r"(?i)closed|reset"):
                request.result()
    wait_for(lambda: plant.status(done) == "succeeded", what="the acknowledgement")
    wait_for(
        lambda: plant.status(silent) == "expired", seconds=6, what="the expiry, though nobody asks"
    )
    wait_for(
        lambda: not set(killed) & set(plant.workers()) and plant.web.answers(), what="new workers"
    )
    assert plant.web.get(f"/api/control/{done}?wait=10")[1]["status"] == "succeeded"


def test_an_ingest_process_killed_between_command_and_answer_leaves_none_stuck(
    plant: ControlProcesses, device: DeviceClient
) -> None:
    process = plant.ingest.process
    assert process is not None
    answered, silent = (
        plant.send(expires_in=30)["command_id"],
        plant.send(expires_in=1)["command_id"],
    )
    plant.ingest.stop(signal.SIGKILL)
    device.acknowledge(answered, "succeeded")
    assert plant.web.get(f"/api/control/{silent}?wait=10")[1]["status"] == "expired"
    assert plant.web.get(f"/api/control/{answered}?wait=20")[1]["status"] == "succeeded"
    # A worker has taken over, and it expires what nobody asks for.
    wait_for(lambda: holder(plant.web) in plant.workers(), what="another to ingest")
    unasked = plant.send(expires_in=1)["command_id"]
    wait_for(lambda: plant.status(unasked) == "expired", seconds=5, what="the expiry")
    assert {status for (status,) in plant.ask("SELECT DISTINCT status FROM commands")} <= {
        *FINAL,
        "sent",
    }
