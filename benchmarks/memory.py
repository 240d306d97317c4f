"""Memory of the ingesting process, `python -m ingest`, after many messages at full speed."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import broker, storage
from benchmarks.bench import Bench
from benchmarks.processes import Process, answer, python, running, settings, wait_for
from benchmarks.report import Line

FIRST, LAST = 100_000, 1_000_000
_MEGABYTE = 1_000_000
_STALLED_SECONDS = 900


def measure(bench: Bench) -> Iterator[Line]:
    """The resident memory after the first messages and after ten times as many."""
    place = bench.place("memory")
    url = f"sqlite:///{place}/bench.db"
    # What the broker saves does not concern the memory of the ingester, only how long the measurement takes.
    with broker.fitting(place / "broker") as port:
        broker.register_session(port)
        environment = settings(place, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        with running(python("ingest"), place, environment) as process:
            _load(place, port, bench.size(FIRST))
            first = _after(process, url, bench.size(FIRST))
            _load(place, port, bench.size(LAST - FIRST))
            last = _after(process, url, bench.size(LAST))
    note = f"after {bench.size(LAST):,} messages; baseline: after {bench.size(FIRST):,}"
    yield Line("memory of the ingester", last, "MB", None, None, "< 130", last < 130, "resident, of `python -m ingest`")
    yield Line("growth of its memory", last, "MB", first, last / first, "≤ 1.1", last / first <= 1.1, note)


def _load(place: Path, port: int, messages: int) -> None:
    with running(python("benchmarks.load", "--port", port, "--messages", messages), place, {}) as generator:
        answer(generator)


def _after(process: Process, url: str, total: int) -> float:
    wait_for(lambda: storage.messages_received(url) >= total, f"{total} stored messages", _STALLED_SECONDS)
    time.sleep(1)
    return float(psutil.Process(process.pid).memory_info().rss) / _MEGABYTE
