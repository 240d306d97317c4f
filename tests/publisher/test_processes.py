"""The static publisher in a backend of several processes: one publishes, and all serve the API."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import gunicorn, live_process, workers
from tests.publishing import RecordingSubscriber, entry
from tests.support import BackendProcess, Mosquitto, wait_for

pytestmark = pytest.mark.process


class Cluster:
    """Two REST workers and the live process, all with the file `payloads.json`."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.file = folder / "payloads.json"
        self.file.write_text(json.dumps([entry("a", interval=0.2, lwt=True)]))
        named = {"PUBLISHER_CONFIG": str(self.file)}
        options = "-c gunicorn.conf.py -w 2 -b 127.0.0.1:{port} app:app"
        self.rest = gunicorn(folder, broker, options, **named)
        named["DATABASE_URL"] = f"sqlite:///{folder}/test.db"
        self.live = live_process(folder / "live", broker, **named)

    def holder(self) -> psutil.Process:
        """The worker that publishes: it has the file's lock open."""
        lock = f"{self.file}.lock"

        def holding() -> list[psutil.Process]:
            every = [(each, each.open_files()) for each in workers(self.rest)]
            return [each for each, files in every if lock in [file.path for file in files]]

        wait_for(lambda: len(holding()) == 1, what="one worker with the lock")
        return holding()[0]


@pytest.fixture
def heard(broker: Mosquitto) -> Iterator[RecordingSubscriber]:
    with RecordingSubscriber(broker.port, "t/#") as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("deployed"), broker)
    made.rest.start()
    made.live.start()
    yield made
    assert made.rest.stop() == 0
    assert made.live.stop() == 0
    for backend in (made.rest, made.live):
        assert "Traceback" not in backend.console.read_text()


def status(backend: BackendProcess) -> Any:
    code, answer = backend.get("/api/publisher/status")
    assert code == 200
    return answer


def connected(backend: BackendProcess) -> bool:
    return bool(status(backend)["connected"])


def test_one_process_publishes_and_each_has_the_status(
    heard: RecordingSubscriber, site: Cluster
) -> None:
    arrived = heard.wait("t/a", 11)
    assert arrived[10].time - arrived[0].time > 8 * 0.2
    for backend in (site.rest, site.rest, site.rest, site.live):
        wait_for(partial(connected, backend), what="the status of the one that publishes")


def test_another_worker_takes_over_from_a_killed_one(
    heard: RecordingSubscriber, site: Cluster
) -> None:
    heard.wait_said("t/a", {"online": 1, "of": "a"})
    killed = site.holder()
    killed.kill()
    gone = heard.wait_said("t/a", {"online": 0, "of": "a"})
    heard.wait_said("t/a", {"online": 1, "of": "a"}, since=gone.time)
    assert site.holder().pid != killed.pid


def test_a_change_through_any_process_is_published(
    heard: RecordingSubscriber, site: Cluster
) -> None:
    for number, backend in enumerate((site.rest, site.rest, site.live)):
        code, added = backend.post("/api/publisher/configs", entry(f"new{number}"))
        assert (code, added["version"]) == (201, 1)
        heard.wait(f"t/new{number}", 2)
    listed = site.rest.get("/api/publisher/configs")[1]["data"]
    assert [each["id"] for each in listed] == ["a", "new0", "new1", "new2"]


def test_the_end_publishes_the_will_and_keeps_statistics(
    heard: RecordingSubscriber, site: Cluster
) -> None:
    heard.wait("t/a", 3)
    assert site.rest.stop() == 0
    heard.wait_said("t/a", {"online": 0, "of": "a"})
    told = status(site.live)
    assert (told["running"], told["problem"]) == (False, "no process publishes it")
    assert told["statistics"]["total_published"] >= 3
    site.rest.start()
    wait_for(lambda: status(site.rest)["connected"], what="a publisher again")
    before = told["statistics"]["total_published"]
    # For a second the worker that does not publish still has the status of before the restart.
    wait_for(lambda: status(site.rest)["statistics"]["total_published"] > before)
