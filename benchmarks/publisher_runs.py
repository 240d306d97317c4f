"""Runs of the static publisher, `python -m publisher`, at a broker.

The program itself saves every five seconds what it published, acknowledged, failed to publish and
missed, together with its uptime.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.arrivals import TOPIC, Arrivals, arrived, subscriber
from benchmarks.bench import Bench
from benchmarks.processes import Process, python, running, settings
from utils.json_types import JsonObject

SECONDS, QUICK_SECONDS = 30, 5
_POLL_SECONDS = 0.5
_STALLED_SECONDS = 60


class RunningPublisher(NamedTuple):
    """A running publisher and its file of statistics."""

    process: Process
    statistics: Path
    started: float
    """Monotonic seconds."""

    def wait_for_status(
        self, condition: Callable[[JsonObject], bool], seconds: float = _STALLED_SECONDS
    ) -> JsonObject:
        """Return the first saved status that satisfies the condition.

        Raises TimeoutError, or RuntimeError if the program ends.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.require_alive()
            if self.statistics.exists() and condition(status := self.status()):
                return status
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"timed out after {seconds:.0f} s waiting for the publisher's status")

    def require_alive(self) -> None:
        """Raise RuntimeError if the program has ended."""
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"the publisher of {self.statistics} exited with code {code}")

    def status(self) -> JsonObject:
        """Return the status that was saved last."""
        saved: JsonObject = json.loads(self.statistics.read_bytes())
        return saved

    def memory(self) -> int:
        """Return the resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


class Sustained(NamedTuple):
    """The rate over a period, with the totals since the start."""

    rate: float
    """Acknowledged messages a second."""
    missed: int
    """Messages that could not be published when they were due."""
    failed: int
    published: int
    memory: int
    """Resident bytes at the end."""


class ObservedRun(NamedTuple):
    """What a subscriber received, and the final status of the publisher."""

    arrivals: Arrivals
    status: JsonObject
    started: float
    memory: int


class PublisherBench(NamedTuple):
    """The context of the publisher's measurements."""

    bench: Bench
    folder: Path
    port: int

    @contextlib.contextmanager
    def publishing(
        self, name: str, count: int, interval: float, lwt: bool = False
    ) -> Iterator[RunningPublisher]:
        """Run the program with `count` entries of one interval. Raises RuntimeError if it fails."""
        folder = self.folder / name
        folder.mkdir()
        file = folder / "entries.json"
        file.write_text(json.dumps([entry(number, interval, lwt) for number in range(count)]))
        environment = settings(folder, f"sqlite:///{folder}/unused.db", self.port)
        del environment["DATABASE_URL"]  # it is measured as on a machine without a database
        started = time.monotonic()
        with running(python("publisher", "--config", file), folder, environment) as process:
            publisher = RunningPublisher(process, Path(f"{file}.statistics"), started)
            yield publisher
            publisher.require_alive()
        if process.returncode != 0:
            raise RuntimeError(f"the publisher of {file} exited with code {process.returncode}")

    def sustain(self, name: str, count: int, interval: float, lwt: bool = False) -> Sustained:
        """Publish until the program has been connected for `SECONDS`; return the rate."""
        seconds = QUICK_SECONDS if self.bench.quick else SECONDS
        with self.publishing(name, count, interval, lwt) as publisher:
            status = publisher.wait_for_status(lambda status: bool(status["connected"]))
            first = status["statistics"]
            time.sleep(seconds)
            # After a late save the next one may come half a second early.
            enough = first["uptime_seconds"] + seconds - 0.5
            status = publisher.wait_for_status(lambda status: _uptime(status) > enough)
            last = status["statistics"]
            memory = publisher.memory()
        acknowledged = last["total_acknowledged"] - first["total_acknowledged"]
        return Sustained(
            rate=acknowledged / (last["uptime_seconds"] - first["uptime_seconds"]),
            missed=last["total_missed"],
            failed=last["total_failed"],
            published=last["total_published"],
            memory=memory,
        )

    def observe(self, name: str, count: int, interval: float, seconds: float) -> ObservedRun:
        """Publish for `seconds` while a subscriber receives.

        Raises RuntimeError if the arrived messages are not as many as the acknowledged ones.
        """
        with subscriber(self.folder, self.port) as process:
            with self.publishing(name, count, interval) as publisher:
                time.sleep(seconds)
                memory = publisher.memory()
            arrivals = arrived(process, self.port)
        status = publisher.status()
        number = sum(map(len, arrivals.values()))
        acknowledged = status["statistics"]["total_acknowledged"]
        if number != acknowledged or not number:
            raise RuntimeError(
                f"{name}: {acknowledged} messages were acknowledged, "
                f"and {number} arrived at a subscriber"
            )
        return ObservedRun(arrivals, status, publisher.started, memory)


def _uptime(status: JsonObject) -> float:
    return float(status["statistics"]["uptime_seconds"])


def entry(number: int, interval: float, lwt: bool) -> JsonObject:
    """Return an entry with all fields of the publisher's specification."""
    return {
        "id": f"entry-{number}",
        "topic": TOPIC.format(number=number),
        "data": {"sensor_id": f"SENSOR_{number:03d}", "temperature": 25.5, "humidity": 60},
        "interval": interval,
        "qos": 1,
        "retain": False,
        "lwt": lwt,
        "created_at": "2025-09-29T16:27:50.000000",
        "updated_at": "2025-09-29T16:27:50.000000",
        "version": 1,
    }
