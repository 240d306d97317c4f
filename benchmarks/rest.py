"""`GET /api/sensors/latest?device_id=` on a million rows against a constant Flask route.

Both run on the same gunicorn with the shipped configuration and are measured in turn, several
times. A separate Flask application in the same worker processes serves the constant, without any
part of the backend around it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import broker, storage
from benchmarks.bench import Bench
from benchmarks.load import device
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import ReportLine
from config import PROJECT

ROWS = 1_000_000
DEVICES = 100
ROUNDS = 7
SECONDS = 3.0
CONNECTIONS = 16
REQUIRED = 0.4
_CONFIG = PROJECT / "gunicorn.conf.py"


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the requests a second of `GET /latest`, in ratio to those of the constant."""
    folder = bench.folder("rest")
    url = f"sqlite:///{folder}/bench.db"
    rows = bench.size(ROWS)
    storage.fill(url, rows, DEVICES)
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(_CONFIG), "benchmarks.web:app"]
    with broker.fitting(folder / "broker") as mqtt_port:
        environment = settings(folder, url, mqtt_port, FLASK_PORT=str(port))
        with running(gunicorn, folder, environment):
            wait_for(lambda: healthy(port), "the backend")
            rates = _rounds(bench, folder, port)
    yield _line(rates, rows)


def _line(rates: dict[str, list[float]], rows: int) -> ReportLine:
    client = median(rates.pop("client"))
    latest, constant = rates["latest"], rates["constant"]
    ratio = median(own / plain for own, plain in zip(latest, constant, strict=True))
    note = (
        f"{rows:,} rows in SQLite, {CONNECTIONS} connections, shipped gunicorn.conf.py; "
        f"baseline: a constant JSON route; the client used {client:.0%} of one CPU"
    )
    return ReportLine(
        "GET latest",
        median(latest),
        "requests/s",
        median(constant),
        ratio,
        f"≥ {REQUIRED}",
        ratio >= REQUIRED,
        note,
        rates,
    )


def _rounds(bench: Bench, folder: Path, port: int) -> dict[str, list[float]]:
    """Return the rates of both routes and the CPU shares of the client, by name."""
    latest = [f"/api/sensors/latest?device_id={device(number)}" for number in range(DEVICES)]
    routes = {"constant": ["/constant"], "latest": latest}
    rates: dict[str, list[float]] = {"constant": [], "latest": [], "client": []}
    for number in range(1 + (3 if bench.quick else ROUNDS)):
        for name, paths in routes.items():
            seconds = 1.0 if bench.quick or not number else SECONDS
            command = python("benchmarks.rest_client", port, seconds, CONNECTIONS, *paths)
            with running(command, folder, {}) as client:
                result = answer(client)
            if number:  # the first round warms up
                rates[name].append(result["rate"])
                rates["client"].append(result["own_cpu_share"])
    return rates
