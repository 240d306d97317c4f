"""500 Socket.IO clients that are subscribed to all readings, and 50 messages a second.

The backend runs as it is meant to for many clients: the process of `deploy/autoforge-live.service` serves them and
another ingests, on SQLite. Everything, also the generators and the clients, shares the CPUs of this machine.
Three things are measured, each with the clients and without any, in turn, on the same backend:

- whether every client holds every device's newest reading 3 s after the last message, at the end of every round;
- the ingest rate while 50 messages a second are offered: the rows stored a second, from the first message's batch to
  the last one's. An ingester that does not keep up stores the last one late;
- the ingest rate while there is a backlog as well: 50,000 messages of a stream that the clients have not subscribed
  to, published at full speed. Nothing is required of it, because it is mostly a matter of how many CPUs there are
  for the clients to take from.
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
from benchmarks.report import Line
from benchmarks.socket_clients import Held
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
class Site:
    """A running backend, and what is asked of it."""

    place: Path
    url: str
    mqtt_port: int
    port: int
    clients: int
    seconds: int
    backlog: int


class Round(NamedTuple):
    """What happened while 50 messages a second were offered."""

    stored: float
    """Of them, rows a second."""
    drained: float
    """Of the backlog, rows a second; 0 without."""
    held: Held | None
    current: int
    """Clients that held the newest reading of every device at the end."""


def measure(bench: Bench) -> Iterator[Line]:
    """How many clients have the newest values, and the rates in ratio to those without clients."""
    place = bench.place("live-clients")
    rounds: dict[str, list[Round]] = {"steady": [], "steady, clients": [], "backlog": [], "backlog, clients": []}
    with ExitStack() as stack:
        site = _site(bench, place, stack)
        for _ in range(1 if bench.quick else ROUNDS):
            for name, results in rounds.items():
                clients = site.clients if "clients" in name else 0
                results.append(_round(site, clients, site.backlog if "backlog" in name else 0))
    yield _served(site, [result for results in rounds.values() for result in results])
    own, plain = ([result.stored for result in rounds[name]] for name in ("steady, clients", "steady"))
    ratio = median(mine / other for mine, other in zip(own, plain, strict=True))
    note = f"of {RATE} messages/s offered, with {site.clients} clients; baseline: without clients"
    required, reached = f"≥ {REQUIRED}", ratio >= REQUIRED
    samples = {"own": own, "plain": plain}
    yield Line("stored with clients", median(own), "messages/s", median(plain), ratio, required, reached, note, samples)
    own, plain = ([result.drained for result in rounds[name]] for name in ("backlog, clients", "backlog"))
    ratio = median(mine / other for mine, other in zip(own, plain, strict=True))
    note = f"{site.backlog:,} messages at full speed, with {site.clients} clients on the same CPUs; baseline: without"
    samples = {"own": own, "plain": plain}
    yield Line("backlog with clients", median(own), "messages/s", median(plain), ratio, note=note, samples=samples)


def _served(site: Site, results: list[Round]) -> Line:
    held = [(result.held, result.current) for result in results if result.held is not None]
    fewest = min(current for _, current in held)
    ages = [age for crowd, _ in held for age in crowd.ages]
    events = min(crowd.events for crowd, _ in held) / site.clients
    busy = max(crowd.cpu_share for crowd, _ in held)
    note = (
        f"{site.clients} Socket.IO clients, the worst of {len(held)} rounds, {_GRACE_SECONDS:.0f} s after the last of "
        f"{RATE} messages/s; in one round a client got {events:.0f} of {RATE * site.seconds} readings on average, in "
        f"the others more, after {median(ages):.0f} ms, 99 % within {quantiles(ages, n=100)[98]:.0f} ms; the clients "
        f"used {busy:.0%} of a CPU"
    )
    ratio, reached = fewest / site.clients, fewest == site.clients
    return Line("clients with all newest values", fewest, "clients", site.clients, ratio, "= 1", reached, note)


def server(unit: str, port: int) -> list[str]:
    """The command of a systemd unit that runs gunicorn, with this interpreter and on this port. Raises ValueError."""
    _, *options = shlex.split(unit.partition("ExecStart=")[2].partition("\n")[0])
    options[options.index("-b") + 1] = f"127.0.0.1:{port}"
    options[options.index("-c") + 1] = str(PROJECT / "gunicorn.conf.py")
    return python("gunicorn", *options)


def _site(bench: Bench, place: Path, stack: ExitStack) -> Site:
    declared = (PROJECT / "streams" / "sensors.toml").read_text(encoding="utf-8")
    streams = bench.place("live-clients/streams")
    (streams / "sensors.toml").write_text(declared, encoding="utf-8")
    backlog = declared.replace("sensors/", "backlog/").replace(_TABLE, _BACKLOG_TABLE)
    (streams / "backlog.toml").write_text(backlog, encoding="utf-8")
    mqtt_port, port = stack.enter_context(broker.fitting(place / "broker")), free_port()
    url = f"sqlite:///{place}/bench.db"
    environment = settings(place, url, mqtt_port, STREAMS_DIR=str(streams))
    stack.enter_context(running(python("ingest"), place, environment))
    stack.enter_context(running(server(_UNIT.read_text(encoding="utf-8"), port), place, environment))
    wait_for(lambda: healthy(port), "the backend")
    seconds = 5 if bench.quick else SECONDS
    return Site(place, url, mqtt_port, port, bench.size(CLIENTS), seconds, BACKLOG)


def _round(site: Site, clients: int, backlog: int) -> Round:
    steady_id, backlog_id = (storage.newest_id(site.url, table) for table in (_TABLE, _BACKLOG_TABLE))
    messages = RATE * site.seconds
    with ExitStack() as stack:
        crowd = stack.enter_context(socket_clients.crowd(site.place, site.port, clients)) if clients else None
        steady = _load(site, "--messages", messages, "--devices", DEVICES, "--rate", RATE)
        with running(steady, site.place, {}) as generator:
            if backlog:
                time.sleep(1)
                burst = _load(site, "--messages", backlog, "--topic", "backlog/{device_id}/data")
                with running(burst, site.place, {}) as second:
                    answer(second)
            answer(generator)
        # Before the clients leave.
        drained = storage.rate(_written(site.url, _BACKLOG_TABLE, backlog_id, backlog)) if backlog else 0.0
        time.sleep(_GRACE_SECONDS)
        held = socket_clients.held(crowd) if crowd else None
    written = _written(site.url, _TABLE, steady_id, messages)
    current = held.holding(storage.newest_of_each(site.url, _TABLE)) if held else 0
    return Round(storage.rate(written), drained, held, current)


def _load(site: Site, *options: object) -> list[str]:
    return python("benchmarks.load", "--port", site.mqtt_port, *options)


def _written(url: str, table: str, after: int, messages: int) -> list[storage.Batch]:
    """The batches of the messages. Raises TimeoutError when they do not come."""
    what = f"{messages} messages in {table}"
    wait_for(lambda: sum(batch.rows for batch in storage.batches(url, table, after)) >= messages, what)
    return storage.batches(url, table, after)
