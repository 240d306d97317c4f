"""From publish to visible: devices publish 200 messages a second, and `GET /latest` is asked until a reading appears.

A client asks for the device whose turn comes next, without a pause, until its newest timestamp changes. The timestamp
is the moment at which the generator sent the message, on the same clock; so the time includes the answer's way back.
"""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from statistics import median, quantiles

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.load import device
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import Line
from config import PROJECT
from utils import clock

RATE = 200
DEVICES = 100
SECONDS = 30
_AHEAD = 3
"""How many devices before its turn a device is asked for, so that the first answer is still the old reading."""


def measure(bench: Bench) -> Iterator[Line]:
    """Median and 99th percentile in milliseconds."""
    place = bench.place("latency")
    seconds = 8 if bench.quick else SECONDS
    with broker.fitting(place / "broker") as mqtt_port:
        port = free_port()
        environment = settings(place, f"sqlite:///{place}/bench.db", mqtt_port, FLASK_PORT=str(port))
        generate = python("benchmarks.load", "--port", mqtt_port, "--messages", RATE * (seconds + 4), "--rate", RATE)
        with running([sys.executable, str(PROJECT / "app.py")], place, environment):
            wait_for(lambda: healthy(port), "the backend")
            with running(generate, place, {}) as generator:
                time.sleep(2)  # every device has been heard
                samples = list(_samples(port, time.monotonic() + seconds))
                answer(generator)
    note = f"{len(samples)} readings; {bench.broker}, `python app.py`, SQLite, {RATE} messages/s"
    middle, high = median(samples), quantiles(samples, n=100)[98]
    yield Line("publish to GET latest, median", middle, "ms", None, None, "< 15", middle < 15, note)
    yield Line("publish to GET latest, 99 %", high, "ms", None, None, "< 60", high < 60, "", {"ms": samples})


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
