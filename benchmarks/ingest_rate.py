"""Stored messages a second against paho's `loop_start()` that stores nothing.

The subscriber's persistent session is registered, all messages are published into the broker's queue while the
subscriber is away, and then the subscriber comes and empties it; so the load generator takes no time from it.
Both sides do the same, each in a fresh process on a fresh broker, in turn, several times.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import broker, load, postgres, storage
from benchmarks.bench import Bench
from benchmarks.processes import answer, python, running, settings
from benchmarks.report import Line

MESSAGES = 100_000
DEVICES = 100
ROUNDS = 5


class Drained(NamedTuple):
    """What one subscriber did with a full queue."""

    rate: float
    """Messages a second."""
    generated: float
    """Messages a second, published into the queue before."""
    rows: int
    cpu_seconds: float
    """Of the subscriber's process, with its start."""


def measure(bench: Bench) -> Iterator[Line]:
    """The rates on SQLite and on PostgreSQL, in ratio to the plain client's."""
    rounds: dict[str, list[Drained]] = {"plain": [], "sqlite": []}
    if bench.postgres is not None:
        rounds["postgresql"] = []
    for number in range(2 if bench.quick else ROUNDS):
        for side, results in rounds.items():
            place = bench.place(f"{side}-{number}")
            results.append(_one_round(bench, side, place))
    note = _note(bench)
    for name, side, required in (("SQLite", "sqlite", 1.0), ("PostgreSQL", "postgresql", 0.9)):
        if side in rounds:
            line = _line(f"ingest into {name}", rounds[side], rounds["plain"], required)
            line.note = note
            if not bench.mosquitto:  # not the broker for which the ratio is required
                line.reached = None
            yield line
    generated = median(result.generated for results in rounds.values() for result in results)
    fastest = max(median(result.rate for result in results) for results in rounds.values())
    note = "into the broker's queue; baseline: the fastest subscriber"
    yield Line(
        "load generator", generated, "messages/s", fastest, generated / fastest, "≥ 1", generated >= fastest, note
    )


def _one_round(bench: Bench, side: str, place: Path) -> Drained:
    if side == "postgresql" and bench.postgres is not None:
        with postgres.fresh_database(bench.postgres) as url:
            return drain(place, url, "ingest", bench.size(MESSAGES))
    product = "ingest" if side == "sqlite" else "plain"
    return drain(place, f"sqlite:///{place}/bench.db", product, bench.size(MESSAGES))


def drain(place: Path, url: str, side: str, messages: int) -> Drained:
    """Fill the queue, let one subscriber empty it, and check that nothing is left and everything stored."""
    with broker.fitting(place / "broker") as port:
        broker.register_session(port)
        with load.connect(port) as opened:
            generated = messages / load.publish(opened, messages, DEVICES)
        environment = settings(place, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        with running(python("benchmarks.subscribers", side, messages), place, environment) as process:
            result = answer(process)
        left = broker.messages_left(port)
    rows = storage.rows_stored(url)
    if left or (side != "plain" and rows != messages):
        raise RuntimeError(f"{side}: {messages} messages published, {rows} rows stored, {left} not acknowledged")
    return Drained(result["received"] / result["seconds"], generated, rows, result["cpu_seconds"])


def end_to_end(bench: Bench) -> Iterator[Line]:
    """Messages a second from a publisher through the embedded broker and the ingester into SQLite."""
    rates = []
    for number in range(2 if bench.quick else ROUNDS):
        place = bench.place(f"embedded-{number}")
        rates.append(_through(place, bench.size(MESSAGES)))
    note = "publisher, embedded broker, ingester and SQLite on this machine; every row counted afterwards"
    rate = median(rates)
    yield Line("through the embedded broker", rate, "messages/s", required="≥ 5000", reached=rate >= 5000, note=note)


def _through(place: Path, messages: int) -> float:
    url = f"sqlite:///{place}/bench.db"
    with broker.embedded(place) as port:
        broker.register_session(port)
        environment = settings(place, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        with running(python("benchmarks.subscribers", "ingest", messages), place, environment) as process:
            with load.connect(port) as opened:
                load.publish(opened, messages, DEVICES)
            result = answer(process)
    if (rows := storage.rows_stored(url)) != messages:
        raise RuntimeError(f"embedded: {messages} messages published, {rows} rows stored")
    return float(result["received"] / result["seconds"])


def _line(name: str, own: list[Drained], plain: list[Drained], required: float) -> Line:
    samples = {"own": [result.rate for result in own], "plain": [result.rate for result in plain]}
    ratio = median(mine / other for mine, other in zip(samples["own"], samples["plain"], strict=True))
    return Line(
        name,
        median(samples["own"]),
        "messages/s",
        baseline=median(samples["plain"]),
        ratio=ratio,
        required=f"≥ {required}",
        reached=ratio >= required,
        samples=samples,
    )


def _note(bench: Bench) -> str:
    baseline = "baseline: paho loop_start(), storing nothing; every row counted afterwards"
    if not bench.mosquitto:
        return f"{baseline}; on the embedded broker, because there is no Mosquitto"
    return f"{baseline}; Mosquitto as shipped"
