"""Live push to 500 Socket.IO clients that are subscribed to all readings, at 50 messages a second.

The backend runs as deployed for many clients: one process serves them, as in
`deploy/autoforge-live.service`, and another ingests into SQLite. The generators and the clients
share the CPUs of this machine with it.
Three figures are measured on the same backend, with and without clients in turn:

- the clients that hold every device's newest reading 3 s after the last message of a round;
- the ingest rate while 50 messages a second are offered: the rows stored a second, from the batch
  of the first message to that of the last. An ingester that does not keep up stores the last late;
- the ingest rate while there is also a backlog: 50,000 messages of a stream that no client has
  subscribed to, published at full speed. It has no requirement, because it depends mostly on how
  many CPUs the clients leave.
"""

import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from benchmarks import broker, socket_clients, storage
from benchmarks.bench import Bench
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import ReportLine
from benchmarks.socket_clients import CrowdResult
from config import PROJECT

CLIENTS = 500
RATE, DEVICES, SECONDS = 50, 10, 20
BACKLOG = 50_000
ROUNDS = 3
REQUIRED = 0.9
_UNIT = PROJECT / "deploy" / "autoforge-live.service"
_GRACE_SECONDS = 3.0
_TABLE, _BACKLOG_TABLE = "sensor_readings", "backlog_readings"


@dataclass(frozen=True)
class LiveBench:
    """A running backend and the size of its load."""

    folder: Path
    url: str
    mqtt_port: int
    port: int
    clients: int
    seconds: int
    backlog: int


class Round(NamedTuple):
    """The result of one round at 50 messages a second."""

    stored: float
    """Rows a second of the steady load."""
    drained: float
    """Rows a second of the backlog; 0 without a backlog."""
    crowd: CrowdResult | None
    current: int
    """Clients that held the newest reading of every device at the end."""


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield how many clients hold the newest values, and the rates with and without clients."""
    rounds: dict[str, list[Round]] = {
        "steady": [],
        "steady, clients": [],
        "backlog": [],
        "backlog, clients": [],
    }
    with ExitStack() as stack:
        live = _start(bench, bench.folder("live-clients"), stack)
        for _ in range(1 if bench.quick else ROUNDS):
            for name, results in rounds.items():
                clients = live.clients if "clients" in name else 0
                backlog = live.backlog if "backlog" in name else 0
                results.append(_round(live, clients, backlog))
    yield _served(live, [result for results in rounds.values() for result in results])
    yield _stored(live, rounds["steady, clients"], rounds["steady"])
    yield _drained(live, rounds["backlog, clients"], rounds["backlog"])


def _stored(live: LiveBench, with_clients: list[Round], without: list[Round]) -> ReportLine:
    own = [result.stored for result in with_clients]
    plain = [result.stored for result in without]
    ratio = _median_ratio(own, plain)
    return ReportLine(
        "stored with clients",
        median(own),
        "messages/s",
        median(plain),
        ratio,
        f"≥ {REQUIRED}",
        ratio >= REQUIRED,
        f"of {RATE} messages/s offered, with {live.clients} clients; baseline: without clients",
        {"own": own, "plain": plain},
    )


def _drained(live: LiveBench, with_clients: list[Round], without: list[Round]) -> ReportLine:
    own = [result.drained for result in with_clients]
    plain = [result.drained for result in without]
    note = (
        f"{live.backlog:,} messages at full speed, with {live.clients} clients on the same CPUs; "
        "baseline: without clients"
    )
    return ReportLine(
        "backlog with clients",
        median(own),
        "messages/s",
        median(plain),
        _median_ratio(own, plain),
        note=note,
        samples={"own": own, "plain": plain},
    )


def _median_ratio(own: list[float], plain: list[float]) -> float:
    return median(mine / other for mine, other in zip(own, plain, strict=True))


def _served(live: LiveBench, results: list[Round]) -> ReportLine:
    rounds = [(result.crowd, result.current) for result in results if result.crowd is not None]
    fewest = min(current for _, current in rounds)
    ages = [age for crowd, _ in rounds for age in crowd.ages]
    events = min(crowd.events for crowd, _ in rounds) / live.clients
    busy = max(crowd.cpu_share for crowd, _ in rounds)
    note = (
        f"{live.clients} Socket.IO clients, the worst of {len(rounds)} rounds, "
        f"{_GRACE_SECONDS:.0f} s after the last of {RATE} messages/s; in the round with the fewest "
        f"events a client got {events:.0f} of {RATE * live.seconds} readings on average; "
        f"median age {median(ages):.0f} ms, 99 % within {quantiles(ages, n=100)[98]:.0f} ms; "
        f"the clients used {busy:.0%} of a CPU"
    )
    return ReportLine(
        "clients with all newest values",
        fewest,
        "clients",
        live.clients,
        fewest / live.clients,
        "= 1",
        fewest == live.clients,
        note,
    )


def server(unit: str, port: int) -> list[str]:
    """Return the gunicorn command of a systemd unit, with this interpreter and on `port`.

    Raises ValueError if the unit has no such command.
    """
    _, *options = shlex.split(unit.partition("ExecStart=")[2].partition("\n")[0])
    options[options.index("-b") + 1] = f"127.0.0.1:{port}"
    options[options.index("-c") + 1] = str(PROJECT / "gunicorn.conf.py")
    return python("gunicorn", *options)


def _start(bench: Bench, folder: Path, stack: ExitStack) -> LiveBench:
    streams = bench.folder("live-clients/streams")
    _declare_streams(streams)
    mqtt_port = stack.enter_context(broker.fitting(folder / "broker"))
    port = free_port()
    url = f"sqlite:///{folder}/bench.db"
    environment = settings(folder, url, mqtt_port, STREAMS_DIR=str(streams))
    serve = server(_UNIT.read_text(encoding="utf-8"), port)
    stack.enter_context(running(python("ingest"), folder, environment))
    stack.enter_context(running(serve, folder, environment))
    wait_for(lambda: healthy(port), "the backend")
    seconds = 5 if bench.quick else SECONDS
    return LiveBench(folder, url, mqtt_port, port, bench.size(CLIENTS), seconds, BACKLOG)


def _declare_streams(folder: Path) -> None:
    """Write the stream `sensors` and its copy `backlog`."""
    declared = (PROJECT / "streams" / "sensors.toml").read_text(encoding="utf-8")
    backlog = declared.replace("sensors/", "backlog/").replace(_TABLE, _BACKLOG_TABLE)
    (folder / "sensors.toml").write_text(declared, encoding="utf-8")
    (folder / "backlog.toml").write_text(backlog, encoding="utf-8")


def _round(live: LiveBench, clients: int, backlog: int) -> Round:
    steady_id = storage.newest_id(live.url, _TABLE)
    backlog_id = storage.newest_id(live.url, _BACKLOG_TABLE)
    messages = RATE * live.seconds
    with ExitStack() as stack:
        process = None
        if clients:
            process = stack.enter_context(socket_clients.crowd(live.folder, live.port, clients))
        _publish(live, messages, backlog)
        drained = 0.0
        if backlog:  # measured before the clients leave
            drained = storage.rate(_written(live.url, _BACKLOG_TABLE, backlog_id, backlog))
        time.sleep(_GRACE_SECONDS)
        crowd = socket_clients.finish(process) if process else None
    written = _written(live.url, _TABLE, steady_id, messages)
    newest = storage.newest_of_each(live.url, _TABLE)
    current = crowd.count_holding(newest) if crowd else 0
    return Round(storage.rate(written), drained, crowd, current)


def _publish(live: LiveBench, messages: int, backlog: int) -> None:
    """Publish the steady load and, from 1 s after its start, the backlog."""
    steady = _load(live, "--messages", messages, "--devices", DEVICES, "--rate", RATE)
    with running(steady, live.folder, {}) as generator:
        if backlog:
            time.sleep(1)
            burst = _load(live, "--messages", backlog, "--topic", "backlog/{device_id}/data")
            with running(burst, live.folder, {}) as second:
                answer(second)
        answer(generator)


def _load(live: LiveBench, *options: object) -> list[str]:
    return python("benchmarks.load", "--port", live.mqtt_port, *options)


def _written(url: str, table: str, after: int, messages: int) -> list[storage.StorageBatch]:
    """Return the batches of the messages. Raises TimeoutError if they are not stored."""
    expected = f"{messages} messages in {table}"
    wait_for(lambda: _rows_after(url, table, after) >= messages, expected)
    return storage.batches(url, table, after)


def _rows_after(url: str, table: str, after: int) -> int:
    return sum(batch.rows for batch in storage.batches(url, table, after))
