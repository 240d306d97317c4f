"""From publish to visible: how soon `GET /latest` returns a reading, at 200 messages a second.

A client polls the device that publishes next, without a pause, until its newest timestamp changes.
The timestamp is the time at which the generator sent the message, on the same clock, so the latency
includes the transfer of the response.
"""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.load import device
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import ReportLine
from config import PROJECT
from utils import clock

RATE = 200
DEVICES = 100
SECONDS = 30
REQUIRED_MEDIAN, REQUIRED_HIGH = 15, 60
_AHEAD = 3
"""How many turns early a device is polled, so that the first answer is still the old reading."""


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the median and the 99th percentile in milliseconds."""
    samples = _latencies(bench.folder("latency"), 8 if bench.quick else SECONDS)
    note = f"{len(samples)} readings; {bench.broker}, `python app.py`, SQLite, {RATE} messages/s"
    middle, high = median(samples), quantiles(samples, n=100)[98]
    yield ReportLine(
        "publish to GET latest, median",
        middle,
        "ms",
        required=f"< {REQUIRED_MEDIAN}",
        reached=middle < REQUIRED_MEDIAN,
        note=note,
    )
    yield ReportLine(
        "publish to GET latest, 99 %",
        high,
        "ms",
        required=f"< {REQUIRED_HIGH}",
        reached=high < REQUIRED_HIGH,
        samples={"ms": samples},
    )


def _latencies(folder: Path, seconds: int) -> list[float]:
    with broker.fitting(folder / "broker") as mqtt_port:
        port = free_port()
        url = f"sqlite:///{folder}/bench.db"
        environment = settings(folder, url, mqtt_port, FLASK_PORT=str(port))
        count = RATE * (seconds + 4)
        options = ("--port", mqtt_port, "--messages", count, "--rate", RATE)
        with running([sys.executable, str(PROJECT / "app.py")], folder, environment):
            wait_for(lambda: healthy(port), "the backend")
            with running(python("benchmarks.load", *options), folder, {}) as generator:
                time.sleep(2)  # every device has sent a reading
                samples = list(_samples(port, time.monotonic() + seconds))
                answer(generator)
    return samples


def _samples(port: int, until: float) -> Iterator[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    number = 0
    while time.monotonic() < until:
        before = newest = _newest(connection, number)
        while newest == before:
            newest = _newest(connection, number)
            if time.monotonic() > until + 10:
                raise TimeoutError(f"{device(number)} has published nothing for 10 s")
        seconds = (clock.now() - newest).total_seconds()
        yield seconds * 1000
        number = (number + int(seconds * RATE) + _AHEAD) % DEVICES
    connection.close()


def _newest(connection: http.client.HTTPConnection, number: int) -> datetime:
    connection.request("GET", f"/api/sensors/latest?device_id={device(number)}")
    data = json.loads(connection.getresponse().read())["data"]
    return datetime.fromisoformat(data["timestamp"]).replace(tzinfo=None)
