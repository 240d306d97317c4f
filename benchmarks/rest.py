"""`GET /api/sensors/latest?device_id=` with a million rows against a Flask route that returns a constant.

Both are asked on the same gunicorn with the shipped configuration, in turn, several times. The constant is answered
by a Flask application of its own in the same worker processes, without anything of the backend around it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import broker, storage
from benchmarks.bench import Bench
from benchmarks.load import device
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import Line
from config import PROJECT

ROWS = 1_000_000
DEVICES = 100
ROUNDS = 7
SECONDS = 3.0
CONNECTIONS = 16
REQUIRED = 0.4


def measure(bench: Bench) -> Iterator[Line]:
    """Requests a second of both, and their ratio."""
    place = bench.place("rest")
    url = f"sqlite:///{place}/bench.db"
    rows = bench.size(ROWS)
    storage.fill(url, rows, DEVICES)
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(PROJECT / "gunicorn.conf.py"), "benchmarks.web:app"]
    with broker.fitting(place / "broker") as mqtt_port:
        environment = settings(place, url, mqtt_port, FLASK_PORT=str(port))
        with running(gunicorn, place, environment):
            wait_for(lambda: healthy(port), "the backend")
            rates = _rounds(bench, place, port)
    ratio = median(own / plain for own, plain in zip(rates["latest"], rates["constant"], strict=True))
    note = (
        f"{rows:,} rows in SQLite, {CONNECTIONS} connections, shipped gunicorn.conf.py; "
        f"baseline: a constant JSON route; the client used {median(rates.pop('client')):.0%} of one CPU"
    )
    reached = ratio >= REQUIRED
    middle = {name: median(found) for name, found in rates.items()}
    yield Line(
        "GET latest", middle["latest"], "requests/s", middle["constant"], ratio, f"≥ {REQUIRED}", reached, note, rates
    )


def _rounds(bench: Bench, place: Path, port: int) -> dict[str, list[float]]:
    paths = {
        "constant": ["/constant"],
        "latest": [f"/api/sensors/latest?device_id={device(number)}" for number in range(DEVICES)],
    }
    rates: dict[str, list[float]] = {"constant": [], "latest": [], "client": []}
    for number in range(1 + (3 if bench.quick else ROUNDS)):
        for name, asked in paths.items():
            seconds = 1.0 if bench.quick or not number else SECONDS
            with running(python("benchmarks.rest_client", port, seconds, CONNECTIONS, *asked), place, {}) as client:
                result = answer(client)
            if number:  # the first round warms up
                rates[name].append(result["rate"])
                rates["client"].append(result["own_cpu_share"])
    return rates
