"""The rate of the ingester against that of paho's `loop_start()`, which stores nothing.

All messages are published into the queue of a persistent session while its subscriber is away.
Then the subscriber connects and empties the queue, so the load generator takes no time from it.
Both sides do the same in turn, several times, each in a fresh process on a fresh broker.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import broker, load, postgres, storage
from benchmarks.bench import Bench
from benchmarks.processes import answer, python, running, settings
from benchmarks.report import ReportLine

MESSAGES = 100_000
DEVICES = 100
ROUNDS = 5
REQUIRED_EMBEDDED = 5000


class Drained(NamedTuple):
    """The result of a subscriber that emptied a full queue."""

    rate: float
    """Messages a second."""
    generated: float
    """Messages a second published into the queue beforehand."""
    rows: int
    cpu_seconds: float
    """CPU time of the subscriber's process, including its start."""


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the rates on SQLite and on PostgreSQL, in ratio to the plain client's."""
    rounds: dict[str, list[Drained]] = {"plain": [], "sqlite": []}
    if bench.postgres is not None:
        rounds["postgresql"] = []
    for number in range(2 if bench.quick else ROUNDS):
        for side, results in rounds.items():
            folder = bench.folder(f"{side}-{number}")
            results.append(_one_round(bench, side, folder))
    note = _note(bench)
    for name, side, required in (("SQLite", "sqlite", 1.0), ("PostgreSQL", "postgresql", 0.9)):
        if side in rounds:
            line = _line(f"ingest into {name}", rounds[side], rounds["plain"], required)
            line.note = note
            if not bench.mosquitto:  # the required ratio is one on Mosquitto
                line.reached = None
            yield line
    yield _generator_line(list(rounds.values()))


def _one_round(bench: Bench, side: str, folder: Path) -> Drained:
    if side == "postgresql" and bench.postgres is not None:
        with postgres.fresh_database(bench.postgres) as url:
            return drain(folder, url, "ingest", bench.size(MESSAGES))
    product = "ingest" if side == "sqlite" else "plain"
    return drain(folder, f"sqlite:///{folder}/bench.db", product, bench.size(MESSAGES))


def drain(folder: Path, url: str, side: str, messages: int) -> Drained:
    """Fill the queue and let one subscriber empty it.

    Raises RuntimeError if a message is left in the queue or is not stored.
    """
    with broker.fitting(folder / "broker") as port:
        broker.register_session(port)
        with load.connect(port) as connection:
            generated = messages / load.publish(connection, messages, DEVICES)
        environment = settings(folder, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        command = python("benchmarks.subscribers", side, messages)
        with running(command, folder, environment) as process:
            result = answer(process)
        left = broker.messages_left(port)
    rows = storage.rows_stored(url)
    if left or (side != "plain" and rows != messages):
        raise RuntimeError(
            f"{side}: {messages} messages published, {rows} rows stored, {left} not acknowledged"
        )
    rate = result["received"] / result["seconds"]
    return Drained(rate, generated, rows, result["cpu_seconds"])


def end_to_end(bench: Bench) -> Iterator[ReportLine]:
    """Yield the rate from a publisher through the embedded broker and the ingester into SQLite."""
    rates = []
    for number in range(2 if bench.quick else ROUNDS):
        folder = bench.folder(f"embedded-{number}")
        rates.append(_through(folder, bench.size(MESSAGES)))
    rate = median(rates)
    yield ReportLine(
        "through the embedded broker",
        rate,
        "messages/s",
        required=f"≥ {REQUIRED_EMBEDDED}",
        reached=rate >= REQUIRED_EMBEDDED,
        note="publisher, embedded broker, ingester and SQLite on this machine; all rows counted",
    )


def _through(folder: Path, messages: int) -> float:
    url = f"sqlite:///{folder}/bench.db"
    with broker.embedded(folder) as port:
        broker.register_session(port)
        environment = settings(folder, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        command = python("benchmarks.subscribers", "ingest", messages)
        with running(command, folder, environment) as process:
            with load.connect(port) as connection:
                load.publish(connection, messages, DEVICES)
            result = answer(process)
    if (rows := storage.rows_stored(url)) != messages:
        raise RuntimeError(f"embedded: {messages} messages published, {rows} rows stored")
    return float(result["received"] / result["seconds"])


def _line(name: str, own: list[Drained], plain: list[Drained], required: float) -> ReportLine:
    own_rates = [result.rate for result in own]
    plain_rates = [result.rate for result in plain]
    ratio = median(mine / other for mine, other in zip(own_rates, plain_rates, strict=True))
    return ReportLine(
        name,
        median(own_rates),
        "messages/s",
        baseline=median(plain_rates),
        ratio=ratio,
        required=f"≥ {required}",
        reached=ratio >= required,
        samples={"own": own_rates, "plain": plain_rates},
    )


def _generator_line(rounds: list[list[Drained]]) -> ReportLine:
    generated = median(result.generated for results in rounds for result in results)
    fastest = max(median(result.rate for result in results) for results in rounds)
    return ReportLine(
        "load generator",
        generated,
        "messages/s",
        fastest,
        generated / fastest,
        "≥ 1",
        generated >= fastest,
        "into the broker's queue; baseline: the fastest subscriber",
    )


def _note(bench: Bench) -> str:
    baseline = "baseline: paho loop_start(), storing nothing; all rows counted"
    if not bench.mosquitto:
        return f"{baseline}; on the embedded broker because Mosquitto is not installed"
    return f"{baseline}; Mosquitto as shipped"
