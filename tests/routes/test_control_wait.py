"""`?wait`: a request is held until the command is final or the seconds are over, and holds up no other."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from broker.notifier import ChangeSet
from services.waiting import HeldRequests, Waiting
from tests.devices import DeviceClient
from tests.support import BackendProcess, free_port, wait_for

COMMAND = {"device_id": "ESP32_001", "command": "restart", "expires_in": 30}
SOON = 2.0
"""Seconds; far less than what these requests are ready to wait."""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """`python app.py` with its own broker."""
    made = BackendProcess(tmp_path_factory.mktemp("backend"), MQTT_PORT=str(free_port())).start()
    wait_for(made.ready, what="a healthy backend")
    yield made
    assert made.stop() == 0


@pytest.fixture
def device(backend: BackendProcess) -> Iterator[DeviceClient]:
    """A device that listens for commands."""
    made = DeviceClient(int(backend.environment["MQTT_PORT"]))
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that are held."""
    with ThreadPoolExecutor(40) as made:
        yield made


def timed(
    backend: BackendProcess, path: str, body: dict[str, Any] | None = None
) -> tuple[int, Any, float]:
    """Status code, answer, and after how many seconds."""
    begun = time.monotonic()
    status, answer = backend.get(path) if body is None else backend.post(path, body)
    return status, answer, time.monotonic() - begun


def send(backend: BackendProcess, **changes: Any) -> str:
    status, answer = backend.post("/api/control", COMMAND | changes)
    assert status == 202
    return str(answer["url"])


def test_a_command_may_be_sent_and_awaited_in_one_request(
    backend: BackendProcess, device: DeviceClient, pool: ThreadPoolExecutor
) -> None:
    held = pool.submit(timed, backend, "/api/control?wait=10", COMMAND)
    command_id = device.next_command()["command_id"]
    device.acknowledge(command_id, "in_progress")
    device.acknowledge(command_id, "succeeded", result={"uptime": 0})
    status, answer, seconds = held.result()
    assert (status, answer["command_id"], answer["status"]) == (200, command_id, "succeeded")
    assert answer["result"] == {"uptime": 0}
    assert seconds < SOON


@pytest.mark.parametrize("final", ["succeeded", "failed", "rejected"])
def test_whoever_asks_for_a_command_may_wait_for_its_end(
    backend: BackendProcess, device: DeviceClient, pool: ThreadPoolExecutor, final: str
) -> None:
    url = send(backend)
    command_id = device.next_command()["command_id"]
    held = [pool.submit(timed, backend, f"{url}?wait=10") for _ in range(5)]
    device.acknowledge(command_id, "in_progress")
    wait_for(lambda: backend.get(url)[1]["status"] == "in_progress", what="the progress")
    assert not any(request.done() for request in held)
    device.acknowledge(command_id, final, reason="so it is")
    for request in held:
        status, answer, seconds = request.result()
        assert (status, answer["status"], answer["reason"]) == (200, final, "so it is")
        assert seconds < SOON
    assert timed(backend, f"{url}?wait=10")[2] < 1, "what is final is told at once"


def test_when_the_seconds_are_over_the_answer_is_202_and_the_state_so_far(
    backend: BackendProcess, device: DeviceClient
) -> None:
    status, answer, seconds = timed(backend, "/api/control?wait=0.5", COMMAND)
    assert (status, answer["status"]) == (202, "sent")
    assert 0.5 <= seconds < SOON
    status, answer, seconds = timed(backend, f"/api/control/{answer['command_id']}?wait=0.5")
    assert (status, answer["status"]) == (202, "sent")
    assert 0.5 <= seconds < SOON
    assert timed(backend, f"/api/control/{answer['command_id']}")[0] == 200


def test_a_command_that_expires_ends_the_waiting(backend: BackendProcess) -> None:
    status, answer, seconds = timed(backend, "/api/control?wait=10", COMMAND | {"expires_in": 1})
    assert (status, answer["status"], answer["reason"]) == (
        200,
        "expired",
        "the device had not finished it in time",
    )
    assert 1 <= seconds < 1 + SOON


def test_there_is_no_waiting_for_what_does_not_exist(backend: BackendProcess) -> None:
    status, answer, seconds = timed(backend, "/api/control/none?wait=10")
    assert (status, "no command none" in answer["message"]) == (404, True)
    assert seconds < 1


@pytest.mark.parametrize("wait", ["-1", "60.1", "long", "", "NaN", "inf"])
def test_what_cannot_be_waited_is_400_and_named_and_nothing_is_sent(
    backend: BackendProcess, device: DeviceClient, wait: str
) -> None:
    assert backend.post(f"/api/control?wait={wait}", COMMAND)[1]["message"].startswith("wait: ")
    assert backend.get(f"/api/control/none?wait={wait}")[0] == 400
    send(backend, command="next")
    assert device.next_command()["command"] == "next"


def test_requests_that_are_held_hold_up_no_other(
    backend: BackendProcess, device: DeviceClient, pool: ThreadPoolExecutor
) -> None:
    url = send(backend)
    command_id = device.next_command()["command_id"]
    held = [pool.submit(timed, backend, f"{url}?wait=15") for _ in range(40)]
    for _ in range(10):
        assert timed(backend, "/api/health")[2] < 1
        assert timed(backend, "/api/control", COMMAND)[2] < SOON
    assert not any(request.done() for request in held)
    device.acknowledge(command_id, "succeeded")
    assert {request.result()[1]["status"] for request in held} == {"succeeded"}


# Who waits for what


def test_only_whom_it_concerns_is_woken() -> None:
    waiting = Waiting()
    with waiting.on("a") as one, waiting.on("a") as two, waiting.on("b") as other:
        waiting.on_change(ChangeSet(commands=["a", "nobody's"]))
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        one.clear()
        waiting.on_change(ChangeSet(devices=["b"]))
        assert not one.is_set()
        assert not other.is_set()
        waiting.on_change(ChangeSet(everything=True))
        assert one.is_set()
        assert other.is_set()
    assert not waiting._events, "nobody waits any more"


def test_no_news_are_missed_by_threads_that_come_and_go() -> None:
    waiting = Waiting()
    woken = threading.Barrier(9)

    def wait() -> None:
        for _ in range(200):
            with waiting.on("a") as event:
                assert event.wait(10)
        woken.wait(10)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    while woken.n_waiting < 8:
        waiting.on_change(ChangeSet(commands=["a"]))
    woken.wait(10)
    for thread in threads:
        thread.join(10)
    assert not waiting._events


def test_a_place_is_free_again_when_its_request_has_ended() -> None:
    held = HeldRequests(2)
    with held.slot() as first, held.slot() as second, held.slot() as third:
        assert (first, second, third) == (True, True, False)
    with held.slot() as again, held.slot() as too, held.slot() as never:
        assert (again, too, never) == (True, True, False)
