"""The static publisher in the backend with several processes: one of them publishes, and all of them can be asked."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.deployed.test_gunicorn import gunicorn
from tests.deployed.test_live_processes import live_process, workers
from tests.publishing import Subscriber, entry
from tests.support import Backend, Mosquitto, wait_for

pytestmark = pytest.mark.process


class Site:
    """Two REST workers, the live process, and a subscriber; `rest` has the file `payloads.json`."""

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
def heard(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    with Subscriber(mosquitto.port, "t/#") as subscriber:
        yield subscriber


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Site]:
    made = Site(tmp_path, mosquitto)
    made.rest.start()
    made.live.start()
    yield made
    assert made.rest.stop() == 0
    assert made.live.stop() == 0
    for backend in (made.rest, made.live):
        assert "Traceback" not in backend.console.read_text()


def status(backend: Backend) -> Any:
    code, answer = backend.get("/api/publisher/status")
    assert code == 200
    return answer


def connected(backend: Backend) -> bool:
    return bool(status(backend)["connected"])


def test_one_process_publishes_and_each_says_how_it_goes(heard: Subscriber, site: Site) -> None:
    arrived = heard.wait("t/a", 11)
    assert arrived[10].time - arrived[0].time > 8 * 0.2
    for backend in (site.rest, site.rest, site.rest, site.live):
        wait_for(partial(connected, backend), what="a status of whoever publishes")


def test_another_worker_takes_over_from_one_that_was_killed(heard: Subscriber, site: Site) -> None:
    heard.wait_said("t/a", {"online": 1, "of": "a"})
    killed = site.holder()
    killed.kill()
    gone = heard.wait_said("t/a", {"online": 0, "of": "a"})
    heard.wait_said("t/a", {"online": 1, "of": "a"}, since=gone.time)
    assert site.holder().pid != killed.pid


def test_a_change_through_any_process_is_published(heard: Subscriber, site: Site) -> None:
    for number, backend in enumerate((site.rest, site.rest, site.live)):
        code, added = backend.post("/api/publisher/configs", entry(f"new{number}"))
        assert (code, added["version"]) == (201, 1)
        heard.wait(f"t/new{number}", 2)
    listed = site.rest.get("/api/publisher/configs")[1]["data"]
    assert [each["id"] for each in listed] == ["a", "new0", "new1", "new2"]


def test_when_all_end_the_will_is_said_and_statistics_stay(heard: Subscriber, site: Site) -> None:
    heard.wait("t/a", 3)
    assert site.rest.stop() == 0
    heard.wait_said("t/a", {"online": 0, "of": "a"})
    told = status(site.live)
    assert (told["running"], told["problem"]) == (False, "no process publishes it")
    assert told["statistics"]["total_published"] >= 3
    site.rest.start()
    wait_for(lambda: status(site.rest)["connected"], what="a publisher again")
    before = told["statistics"]["total_published"]
    # The worker that does not publish tells what was saved last, for a second still by the one before.
    wait_for(lambda: status(site.rest)["statistics"]["total_published"] > before)
