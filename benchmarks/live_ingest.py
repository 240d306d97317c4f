"""What live push takes from the ingest while nobody listens: the rate with notices against the rate without.

Both sides empty a full queue as in `benchmarks.ingest_rate`. Two that follow each other make a pair, in which they
take turns at going first; what the machine does meanwhile mostly concerns both.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.ingest_rate import MESSAGES, Drained, drain
from benchmarks.report import Line

PAIRS = 12
REQUIRED = 0.97
_SIDES = ("ingest", "ingest-silent")


def measure(bench: Bench) -> Iterator[Line]:
    """The ratio on SQLite and on PostgreSQL."""
    yield _line(bench, "SQLite")
    if bench.postgres is not None:
        yield _line(bench, "PostgreSQL")


def _line(bench: Bench, name: str) -> Line:
    drained: dict[str, list[Drained]] = {side: [] for side in _SIDES}
    for number in range(2 if bench.quick else PAIRS):
        for side in _SIDES if number % 2 else reversed(_SIDES):
            drained[side].append(_drained(bench, name, side, number))
    rates = {side: [result.rate for result in results] for side, results in drained.items()}
    ratios = [own / silent for own, silent in zip(*rates.values(), strict=True)]
    ratio = median(ratios)
    own_cpu, silent_cpu = (median(result.cpu_seconds for result in results) for results in drained.values())
    note = (
        f"no client; baseline: nobody is told of what is stored; median of {len(ratios)} pairs, from {min(ratios):.2f} "
        f"to {max(ratios):.2f}; it took {own_cpu / silent_cpu:.2f} times the CPU time; {bench.broker}"
    )
    own, silent = (median(rate) for rate in rates.values())
    reached, samples = ratio >= REQUIRED, {**rates, "ratios": ratios}
    return Line(
        f"ingest with live push, {name}", own, "messages/s", silent, ratio, f"≥ {REQUIRED}", reached, note, samples
    )


def _drained(bench: Bench, name: str, side: str, number: int) -> Drained:
    place = bench.place(f"live-{side}-{name}-{number}")
    if name == "PostgreSQL" and bench.postgres is not None:
        with postgres.fresh_database(bench.postgres) as url:
            return drain(place, url, side, bench.size(MESSAGES))
    return drain(place, f"sqlite:///{place}/bench.db", side, bench.size(MESSAGES))
