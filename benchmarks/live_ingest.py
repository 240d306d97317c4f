"""The cost of live push for the ingest without clients: the rate with and without notifications.

Both sides empty a full queue as in `benchmarks.ingest_rate`. Two consecutive runs form a pair, and
the order within the pairs alternates; most disturbances by the machine then affect both sides.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.ingest_rate import MESSAGES, Drained, drain
from benchmarks.report import ReportLine

PAIRS = 12
REQUIRED = 0.97
_SIDES = ("ingest", "ingest-silent")


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the ratio on SQLite and on PostgreSQL."""
    yield _line(bench, "SQLite")
    if bench.postgres is not None:
        yield _line(bench, "PostgreSQL")


def _line(bench: Bench, name: str) -> ReportLine:
    own, silent = _pairs(bench, name)
    own_rates = [result.rate for result in own]
    silent_rates = [result.rate for result in silent]
    ratios = [mine / other for mine, other in zip(own_rates, silent_rates, strict=True)]
    ratio = median(ratios)
    cpu = _median_cpu(own) / _median_cpu(silent)
    note = (
        f"no client; baseline: no change notifications; median of {len(ratios)} pairs, "
        f"from {min(ratios):.2f} to {max(ratios):.2f}; {cpu:.2f} times the CPU time; {bench.broker}"
    )
    return ReportLine(
        f"ingest with live push, {name}",
        median(own_rates),
        "messages/s",
        median(silent_rates),
        ratio,
        f"≥ {REQUIRED}",
        ratio >= REQUIRED,
        note,
        {"ingest": own_rates, "ingest-silent": silent_rates, "ratios": ratios},
    )


def _pairs(bench: Bench, name: str) -> Iterator[list[Drained]]:
    """Yield the results with notifications and those without."""
    drained: dict[str, list[Drained]] = {side: [] for side in _SIDES}
    for number in range(2 if bench.quick else PAIRS):
        for side in _SIDES if number % 2 else reversed(_SIDES):
            drained[side].append(_drained(bench, name, side, number))
    yield from drained.values()


def _median_cpu(results: list[Drained]) -> float:
    return median(result.cpu_seconds for result in results)


def _drained(bench: Bench, name: str, side: str, number: int) -> Drained:
    folder = bench.folder(f"live-{side}-{name}-{number}")
    if name == "PostgreSQL" and bench.postgres is not None:
        with postgres.fresh_database(bench.postgres) as url:
            return drain(folder, url, side, bench.size(MESSAGES))
    return drain(folder, f"sqlite:///{folder}/bench.db", side, bench.size(MESSAGES))
