"""The memory of the ingester, `python -m ingest`, after many messages at full speed."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import broker, storage
from benchmarks.bench import Bench
from benchmarks.processes import Process, answer, python, running, settings, wait_for
from benchmarks.report import ReportLine

FIRST, LAST = 100_000, 1_000_000
REQUIRED_MEGABYTES, REQUIRED_GROWTH = 130, 1.1
_MEGABYTE = 1_000_000
_STALLED_SECONDS = 900


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the resident memory after all messages, and its growth since the first tenth."""
    first, last = _megabytes(bench, bench.folder("memory"))
    yield ReportLine(
        "memory of the ingester",
        last,
        "MB",
        required=f"< {REQUIRED_MEGABYTES}",
        reached=last < REQUIRED_MEGABYTES,
        note="resident, of `python -m ingest`",
    )
    yield ReportLine(
        "growth of its memory",
        last,
        "MB",
        first,
        last / first,
        f"≤ {REQUIRED_GROWTH}",
        last / first <= REQUIRED_GROWTH,
        f"after {bench.size(LAST):,} messages; baseline: after {bench.size(FIRST):,}",
    )


def _megabytes(bench: Bench, folder: Path) -> tuple[float, float]:
    url = f"sqlite:///{folder}/bench.db"
    # The messages that the broker saves affect the duration, not the memory of the ingester.
    with broker.fitting(folder / "broker") as port:
        broker.register_session(port)
        environment = settings(folder, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        with running(python("ingest"), folder, environment) as process:
            _load(folder, port, bench.size(FIRST))
            first = _after(process, url, bench.size(FIRST))
            _load(folder, port, bench.size(LAST - FIRST))
            last = _after(process, url, bench.size(LAST))
    return first, last


def _load(folder: Path, port: int, messages: int) -> None:
    command = python("benchmarks.load", "--port", port, "--messages", messages)
    with running(command, folder, {}) as generator:
        answer(generator)


def _after(process: Process, url: str, total: int) -> float:
    """Return the resident megabytes once `total` messages are stored."""
    expected = f"{total} stored messages"
    wait_for(lambda: storage.messages_received(url) >= total, expected, _STALLED_SECONDS)
    time.sleep(1)
    return float(psutil.Process(process.pid).memory_info().rss) / _MEGABYTE
